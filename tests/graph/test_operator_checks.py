"""Operators that a well-formed flatbuffer can still get wrong, and sound ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from models import MODELS
from tampering import changed
from tdse.errors import ModelError
from tdse.graph import read_tflite

HINT = "the file is damaged or its converter at fault, convert the model again"
WEIGHTS = np.ones((2, 1, 1, 4), np.float32)


def _integers(values: Any, dtype: str = "int32") -> Tensor:
    array = np.array(values, dtype)
    return Tensor("constant", array.shape, dtype, array)


def _zeros(*shape: int) -> Tensor:
    return Tensor("weights", shape, data=np.zeros(shape, np.float32))


def _x(*shape: int) -> Tensor:
    return Tensor("x", shape)


def _model(kind: str, operands: list[Tensor], options: Any = None, results: int = 1) -> bytes:
    """A model of one operator, whose operands without a value are inputs of the model."""
    tensors = [*operands, *(Tensor(f"y{i}", (1,)) for i in range(results))]
    count = len(operands)
    given = tuple(i for i, tensor in enumerate(operands) if tensor.data is None)
    made = tuple(range(count, count + results))
    return write_model(
        [Subgraph(tensors, [Operator(kind, tuple(range(count)), made, options)], given, made)]
    )


def _conv(**attributes: int) -> schema.Conv2DOptionsT:
    return schema.Conv2DOptionsT(**{"strideW": 1, "strideH": 1, **attributes})


def _depthwise() -> schema.DepthwiseConv2DOptionsT:
    return schema.DepthwiseConv2DOptionsT(strideW=1, strideH=1)


def _pool(**attributes: int) -> schema.Pool2DOptionsT:
    whole = {"strideW": 1, "strideH": 1, "filterWidth": 1, "filterHeight": 1, **attributes}
    return schema.Pool2DOptionsT(**whole)


IMAGE = _x(1, 8, 8, 4)
FILTER = Tensor("weights", WEIGHTS.shape, data=WEIGHTS)
HUGE = 1 << 30

WRONG = {
    "no options": (_model("CONV_2D", [IMAGE, FILTER]), "its stride_w is 0, under 1"),
    "stride": (_model("CONV_2D", [IMAGE, FILTER], _conv(strideH=0)), "its stride_h is 0, under 1"),
    "negative stride": (
        _model("MAX_POOL_2D", [IMAGE], _pool(strideW=-1)),
        "its stride_w is -1, under 1",
    ),
    "dilation": (
        _model("CONV_2D", [IMAGE, FILTER], _conv(dilationWFactor=0)),
        "its dilation_w_factor is 0, under 1",
    ),
    "window": (
        _model("AVERAGE_POOL_2D", [IMAGE], _pool(filterHeight=0)),
        "its filter_height is 0, under 1",
    ),
    "filter channels": (
        _model("CONV_2D", [IMAGE, _zeros(2, 1, 1, 0)], _conv()),
        "its filter has the shape [2, 1, 1, 0]",
    ),
    "filter rank": (
        _model("CONV_2D", [IMAGE, _zeros(2, 4)], _conv()),
        "its filter has 2 dimensions and not 4",
    ),
    "input channels": (
        _model("CONV_2D", [_x(1, 8, 8, 0), FILTER], _conv()),
        "its input has no channels",
    ),
    "input rank": (_model("CONV_2D", [_x(8, 4), FILTER], _conv()), "its input has 2 dimensions"),
    "groups": (
        _model("CONV_2D", [_x(1, 8, 8, 6), FILTER], _conv()),
        "its input has 6 channels, not a multiple of the filter's 4",
    ),
    "filters of groups": (
        _model("CONV_2D", [_x(1, 8, 8, 12), FILTER], _conv()),
        "2 filters are not for 3 groups",
    ),
    "depth multiplier": (
        _model("DEPTHWISE_CONV_2D", [IMAGE, _zeros(1, 3, 3, 6)], _depthwise()),
        "6 filters are not for 4 channels",
    ),
    "units": (
        _model("FULLY_CONNECTED", [_x(1, 4), _zeros(3, 0)], schema.FullyConnectedOptionsT()),
        "its filter has the shape [3, 0]",
    ),
    "transposed size": (
        _model(
            "TRANSPOSE_CONV",
            [_integers([1, HUGE, HUGE, 2]), FILTER, IMAGE],
            schema.TransposeConvOptionsT(strideW=1, strideH=1),
        ),
        "its output would have the impossible shape",
    ),
    "svdf": (
        _model("SVDF", [_x(1, 4), _zeros(3, 4), _zeros(3, 5)], schema.SVDFOptionsT(rank=2)),
        "3 filters are not for rank 2",
    ),
    "block": (
        _model("SPACE_TO_DEPTH", [IMAGE], schema.SpaceToDepthOptionsT()),
        "its block_size is 0, under 1",
    ),
    "blocks": (
        _model("SPACE_TO_BATCH_ND", [IMAGE, _integers([0, 2]), _integers([[0, 0], [0, 0]])]),
        "its block has the shape [0, 2]",
    ),
    "concatenation": (
        _model("CONCATENATION", [IMAGE], schema.ConcatenationOptionsT(axis=4)),
        "its axis 4 is not one of 4 dimensions",
    ),
    "pack": (
        _model("PACK", [IMAGE], schema.PackOptionsT(valuesCount=1, axis=-6)),
        "its axis -6 is not one of 5 dimensions",
    ),
    "pack of others": (
        _model("PACK", [IMAGE], schema.PackOptionsT(valuesCount=7)),
        "it has 1 inputs and not 7",
    ),
    "unpack": (
        _model("UNPACK", [IMAGE], schema.UnpackOptionsT(num=1, axis=3)),
        "dimension 3 of its input is not 1",
    ),
    "unpack into others": (
        _model("UNPACK", [IMAGE], schema.UnpackOptionsT(num=-3)),
        "it has 1 outputs and not -3",
    ),
    "split": (
        _model("SPLIT", [_integers(9), IMAGE], schema.SplitOptionsT(numSplits=2), 2),
        "its axis 9 is not one of 4 dimensions",
    ),
    "split into none": (
        _model("SPLIT", [_integers(0), IMAGE], schema.SplitOptionsT()),
        "its num_splits is 0, under 1",
    ),
    "uneven split": (
        _model("SPLIT", [_integers(3), IMAGE], schema.SplitOptionsT(numSplits=3), 3),
        "dimension 3 of 4 is not for 3 outputs",
    ),
    "sizes of a split": (
        _model(
            "SPLIT_V", [IMAGE, _integers([2]), _integers(3)], schema.SplitVOptionsT(numSplits=2), 2
        ),
        "it has 1 sizes for 2 outputs",
    ),
    "gather": (
        _model("GATHER", [IMAGE, _integers([0, 4])], schema.GatherOptionsT(axis=3)),
        "its index 4 is not one of 4",
    ),
    "gather before": (
        _model("GATHER", [IMAGE, _integers([-1])], schema.GatherOptionsT(axis=3)),
        "its index -1 is not one of 4",
    ),
    "gather axis": (
        _model("GATHER", [IMAGE, _integers([0])], schema.GatherOptionsT(axis=5)),
        "its axis 5 is not one of 4 dimensions",
    ),
    "gather_nd": (
        _model("GATHER_ND", [IMAGE, _integers([[0, 8]])]),
        "its index 8 is not one of 8",
    ),
    "gather_nd rank": (
        _model("GATHER_ND", [_x(4), _integers([[0, 0]])]),
        "it has indices of 2 for 1 dimensions",
    ),
    "embedding": (
        _model("EMBEDDING_LOOKUP", [_integers([3]), _x(3, 8)]),
        "its index 3 is not one of 3",
    ),
    "reduction": (
        _model("MEAN", [IMAGE, _integers([1, 4])], schema.ReducerOptionsT()),
        "its axis 4 is not one of 4 dimensions",
    ),
    "argmax": (
        _model("ARG_MAX", [IMAGE, _integers(-5)], schema.ArgMaxOptionsT()),
        "its axis -5 is not one of 4 dimensions",
    ),
    "expand_dims": (
        _model("EXPAND_DIMS", [IMAGE, _integers(5)]),
        "its axis 5 is not one of 5 dimensions",
    ),
    "squeeze": (
        _model("SQUEEZE", [IMAGE], schema.SqueezeOptionsT(squeezeDims=np.array([1], np.int32))),
        "it removes dimension 1 of size 8",
    ),
    "transpose": (
        _model("TRANSPOSE", [IMAGE, _integers([0, 1, 2, 2])]),
        "its order [0, 1, 2, 2] is not one of 4 dimensions",
    ),
    "one_hot": (
        _model("ONE_HOT", [_x(4), _integers(2), _x(), _x()], schema.OneHotOptionsT(axis=2)),
        "its axis 2 is beyond 1 dimensions",
    ),
    "one_hot depth": (
        _model("ONE_HOT", [_x(HUGE, 4), _integers(HUGE), _x(), _x()], schema.OneHotOptionsT()),
        "its output would have the impossible shape",
    ),
    "no operands": (_model("ADD", [_x(4)], schema.AddOptionsT()), "it has 1 of 2 operands"),
    "no result": (_model("RELU", [_x(4)], results=0), "it has no output"),
    "reverse_sequence": (
        _model("REVERSE_SEQUENCE", [IMAGE, _x(1)], schema.ReverseSequenceOptionsT(seqDim=4)),
        "its seq_dim is 4 of 4 dimensions",
    ),
    "padding": (
        _model("PAD", [_x(4), _integers([[-1, 0]])]),
        "its paddings are [[-1, 0]]",
    ),
    "padding rank": (_model("PAD", [IMAGE, _integers([[1, 1]])]), "it pads 1 of 4 dimensions"),
    "padding size": (
        _model("PAD", [_x(HUGE, 1), _integers([[0, 0], [HUGE, HUGE]])]),
        "its output would have the impossible shape",
    ),
    "mirror": (
        _model("MIRROR_PAD", [_x(4), _integers([[5, 0]])], schema.MirrorPadOptionsT(mode=1)),
        "it mirrors 5 of 4 elements",
    ),
    "slice": (
        _model("SLICE", [_x(4), _integers([2]), _integers([3])]),
        "it takes 3 elements from 2 of a dimension of 4",
    ),
    "slice before": (
        _model("SLICE", [_x(4), _integers([-1]), _integers([1])]),
        "it takes 1 elements from -1 of a dimension of 4",
    ),
    "strided slice": (
        _model("STRIDED_SLICE", [_x(4), *(_integers([0]) for _ in range(3))]),
        "its strides are [0]",
    ),
    "strided slice rank": (
        _model("STRIDED_SLICE", [_x(4), _integers([0]), _integers([1, 1]), _integers([1])]),
        "its begins, ends and strides are not of one length",
    ),
    "resize": (
        _model("RESIZE_BILINEAR", [IMAGE, _integers([0, 4])], schema.ResizeBilinearOptionsT()),
        "its size is [0, 4]",
    ),
    "resize of nothing": (
        _model("RESIZE_NEAREST_NEIGHBOR", [_x(1, 0, 8, 4), _integers([4, 4])]),
        "its input has the shape [1, 0, 8, 4]",
    ),
    "top k": (_model("TOPK_V2", [_x(4), _integers(5)], results=2), "it takes 5 of 4 elements"),
    "reshape": (
        _model("RESHAPE", [_x(4), _integers([-1, -1])]),
        "its new shape [-1, -1] leaves two sizes open",
    ),
    "reshape size": (
        _model("RESHAPE", [_x(4), _integers([-2])]),
        "its new shape is [-2]",
    ),
    "fill": (
        _model("FILL", [_integers([HUGE, HUGE]), _x()]),
        f"its output would have the impossible shape [{HUGE}, {HUGE}]",
    ),
    "broadcast": (
        _model("BROADCAST_TO", [_x(1), _integers([-4])]),
        "its output would have the shape [-4]",
    ),
    "tile": (
        _model("TILE", [_x(HUGE), _integers([HUGE])]),
        "its output would have the impossible shape",
    ),
}

SOUND = {
    "groups": _model("CONV_2D", [_x(1, 8, 8, 8), FILTER], _conv()),
    "negative axes": _model("MEAN", [IMAGE, _integers([-1, -4])], schema.ReducerOptionsT()),
    "reduction of a scalar": _model("SUM", [_x(), _integers([0])], schema.ReducerOptionsT()),
    "64-bit axes": _model("SUM", [IMAGE, _integers([3], "int64")], schema.ReducerOptionsT()),
    "axis at the end": _model("EXPAND_DIMS", [IMAGE, _integers(4)]),
    "negative order": _model("TRANSPOSE", [IMAGE, _integers([0, -1, 1, 2])]),
    "rest of a slice": _model("SLICE", [_x(4), _integers([4]), _integers([-1])]),
    "backwards": _model("STRIDED_SLICE", [_x(4), *(_integers([-1]) for _ in range(3))]),
    "rest of a split": _model(
        "SPLIT_V", [IMAGE, _integers([1, -1]), _integers(-1)], schema.SplitVOptionsT(numSplits=2), 2
    ),
    "axis of an unknown shape": _model(
        "CONCATENATION", [_x(), _x()], schema.ConcatenationOptionsT(axis=1)
    ),
    "all of the largest": _model("TOPK_V2", [_x(4), _integers(4)], results=2),
    "reshape": _model("RESHAPE", [_x(4), _integers([2, -1])]),
    "empty": _model("FILL", [_integers([0]), _x()]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_kernel_could_not_compute(name: str) -> None:
    data, why = WRONG[name]
    with pytest.raises(ModelError) as caught:
        read_tflite(data, "m")
    label = caught.value.why.split(": ")[0]
    assert label.startswith("operator 0:")
    assert caught.value.why.startswith(f"{label}: {why}")
    assert caught.value.hint == HINT
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", SOUND)
def test_what_a_kernel_computes(name: str) -> None:
    assert len(read_tflite(SOUND[name]).ops) == 1


def _weights(model: Any) -> Any:
    return model.subgraphs[0].tensors[model.subgraphs[0].operators[0].inputs[1]]


def _scale(value: float) -> Callable[[Any], None]:
    def change(model: Any) -> None:
        _weights(model).quantization.scale[0] = value

    return change


def _activation_scale(model: Any) -> None:
    model.subgraphs[0].tensors[0].quantization.scale[0] = np.nan


def _bias_scale(model: Any) -> None:
    bias = model.subgraphs[0].operators[0].inputs[2]
    model.subgraphs[0].tensors[bias].quantization.scale[0] = 0.0


def _zero_point(model: Any) -> None:
    model.subgraphs[0].tensors[0].quantization.zeroPoint[0] = 128


def _too_few_scales(model: Any) -> None:
    quantization = _weights(model).quantization
    quantization.scale, quantization.zeroPoint = (
        quantization.scale[:-1],
        quantization.zeroPoint[:-1],
    )


def _rank(model: Any) -> None:
    model.subgraphs[0].tensors[0].shape = np.ones(33, np.int32)


def _hidden_size(model: Any) -> None:
    model.subgraphs[0].tensors[0].shape = np.array([HUGE, HUGE, 0], np.int32)


def _no_filter(model: Any) -> None:
    model.subgraphs[0].operators[0].inputs[1] = -1


def _metadata(model: Any) -> None:
    model.metadata = [schema.MetadataT(name="reduced_precision_support", buffer=10_000)]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_scale(0.0), "tensor 1 has the scale 0.0"),
        (_scale(float("nan")), "tensor 1 has the scale nan"),
        (_scale(float("inf")), "tensor 1 has the scale inf"),
        (_scale(-1.0), "tensor 1 has the scale -1.0"),
        (_activation_scale, "tensor 0 has the scale nan"),
        (_bias_scale, "tensor 2 has the scale 0.0"),
        (_zero_point, "tensor 0 of int8 has the zero point 128"),
        (_too_few_scales, "tensor 1 has 7 scales along dimension 0 of its shape [8, 3, 3, 8]"),
        (_rank, "tensor 0 has 33 dimensions, more than 32"),
        (_hidden_size, f"tensor 0 has the impossible shape [{HUGE}, {HUGE}, 0]"),
        (_no_filter, "operator 0:conv2d: an operand that it needs is not given"),
        (_metadata, "metadata 'reduced_precision_support' is in buffer 10000, but there are"),
    ],
)
def test_tensors_without_a_meaning(change: Callable[[Any], None], why: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(changed(MODELS["branches"](), change))
    assert caught.value.why.startswith(why)
    assert caught.value.hint


def test_scales_of_what_is_not_quantised_mean_nothing() -> None:
    zero = {"scales": (0.0,), "zero_points": (0,)}
    tensors = [replace(_x(4), **zero), Tensor("y", (4,), "int32", **zero)]
    cast = Operator("CAST", (0,), (1,), schema.CastOptionsT(outDataType=schema.TensorType.INT32))
    assert read_tflite(write_model([Subgraph(tensors, [cast], (0,), (1,))])).ops


def _loop(model: Any) -> None:
    model.subgraphs[2].operators = list(model.subgraphs[0].operators)
    model.subgraphs[2].tensors = list(model.subgraphs[0].tensors)


def _no_branch(model: Any) -> None:
    model.subgraphs[0].operators[0].builtinOptions.elseSubgraphIndex = 3


def _other_index(model: Any) -> None:
    model.subgraphs[1].operators[0].inputs[0] = 70


def _other_shape(model: Any) -> None:
    model.subgraphs[1].tensors[0].shape = np.array([HUGE, HUGE], np.int32)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (_loop, "subgraph 2 runs itself without an end"),
        (_no_branch, "subgraph 0 runs subgraph 3, but there are 3"),
        (_other_index, "subgraph 1: operator 0 refers to tensor 70, but there are 3"),
        (_other_shape, "subgraph 1: tensor 0 has the impossible shape"),
    ],
)
def test_other_subgraphs(change: Callable[[Any], None], why: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(changed(MODELS["conditional"](), change))
    assert caught.value.why.startswith(why)


def _sparse(**fields: Any) -> bytes:
    """A [4, 4] matrix in two rows of one 2 by 2 block each, in the order row, column, block."""
    rows = schema.DimensionMetadataT(denseSize=2)
    columns = schema.DimensionMetadataT(
        format=schema.DimensionType.SPARSE_CSR,
        arraySegmentsType=schema.SparseIndexVector.Int32Vector,
        arraySegments=schema.Int32VectorT(np.array(fields.get("segments", [0, 1, 2]), np.int32)),
        arrayIndicesType=schema.SparseIndexVector.Uint8Vector,
        arrayIndices=schema.Uint8VectorT(np.array(fields.get("places", [1, 0]), np.uint8)),
    )
    blocks = [schema.DimensionMetadataT(denseSize=fields.get("block", 2)) for _ in range(2)]
    sparsity = schema.SparsityParametersT(
        traversalOrder=np.array(fields.get("order", [0, 1, 2, 3]), np.int32),
        blockMap=np.array(fields.get("blocked", [0, 1]), np.int32),
        dimMetadata=[rows, columns, *blocks][: fields.get("levels", 4)],
    )
    values = np.ones(fields.get("count", 8), np.float32)
    tensors = [
        Tensor("stored", values.shape, data=values),
        Tensor("weights", (4, 4)),
        Tensor("x", (1, 4)),
        Tensor("y", (1, 4)),
    ]
    operators = [
        Operator("DENSIFY", (0,), (1,), schema.DensifyOptionsT()),
        Operator("FULLY_CONNECTED", (2, 1, -1), (3,), schema.FullyConnectedOptionsT()),
    ]

    def sparsify(model: Any) -> None:
        model.subgraphs[0].tensors[0].shape = np.array([4, 4], np.int32)
        model.subgraphs[0].tensors[0].sparsity = sparsity

    return changed(write_model([Subgraph(tensors, operators, (2,), (3,))]), sparsify)


def test_a_sparse_constant() -> None:
    assert len(read_tflite(_sparse()).ops) == 2


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"order": [0, 1, 2, 2]}, "no order of its dimensions"),
        ({"blocked": [0, 0]}, "a dimension that is blocked twice"),
        ({"blocked": [0, 2]}, "a block in no dimension"),
        ({"levels": 3}, "3 descriptions of 4 dimensions"),
        ({"block": 0}, "a block without elements"),
        ({"block": 3}, "blocks of 3 along 4 elements"),
        ({"segments": [0, 2]}, "2 segment borders for 2 segments"),
        ({"segments": [0, 3, 2]}, "segments that do not hold its indices"),
        ({"segments": [0, 1, 9]}, "segments that do not hold its indices"),
        ({"places": [1, 2]}, "an index outside of 2 elements"),
        ({"count": 7}, "28 bytes for 8 elements of float32"),
    ],
)
def test_sparse_constants_without_a_meaning(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ModelError) as caught:
        read_tflite(_sparse(**fields))
    assert caught.value.why.startswith(f"the sparse tensor 0 has {why}")
