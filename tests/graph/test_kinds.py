"""Names, attributes and arithmetic of operators."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from tdse.graph import Tensor, kind_of, read_tflite
from tdse.graph.kinds import BUILTIN_NAMES, DTYPES, attributes_of, macs, size_bytes


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("CONV_2D", "conv2d"),
        ("DEPTHWISE_CONV_2D", "depthwise_conv2d"),
        ("TRANSPOSE_CONV", "transpose_conv2d"),
        ("FULLY_CONNECTED", "fully_connected"),
        ("AVERAGE_POOL_2D", "average_pool2d"),
        ("MAX_POOL_2D", "max_pool2d"),
        ("L2_POOL_2D", "l2_pool2d"),
        ("CONV_3D_TRANSPOSE", "conv3d_transpose"),
        ("RFFT2D", "rfft2d"),
        ("RELU_N1_TO_1", "relu_n1_to_1"),
        ("HARD_SWISH", "hard_swish"),
        ("edgetpu-custom-op", "edgetpu_custom_op"),
        ("TFLite_Detection_PostProcess", "tf_lite_detection_post_process"),
        ("Convolution2DTransposeBias", "convolution2d_transpose_bias"),
        ("TransformLandmarks", "transform_landmarks"),
        ("MaxPoolWithArgmax2D", "max_pool_with_argmax2d"),
        ("FlexErf", "flex_erf"),
    ],
)
def test_kind_of(name: str, kind: str) -> None:
    assert kind_of(name) == kind


def test_kinds_of_builtin_operators_differ() -> None:
    assert len({kind_of(name) for name in BUILTIN_NAMES.values()}) == len(BUILTIN_NAMES)


def test_every_element_type_of_the_schema_is_known() -> None:
    types = {value for value in vars(schema.TensorType).values() if isinstance(value, int)}
    assert types == set(DTYPES)


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        ("float32", (2, 3), 24),
        ("int8", (), 1),
        ("int4", (3,), 2),
        ("int2", (5,), 2),
        ("complex128", (2,), 32),
        ("string", (7,), 0),
        ("int16", (0, 4), 0),
        ("int16", (-1, 4), 8),
    ],
)
def test_size_bytes(dtype: str, shape: tuple[int, ...], size: int) -> None:
    assert size_bytes(dtype, shape) == size


def test_attributes() -> None:
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideH = 2
    options.fusedActivationFunction = schema.ActivationFunctionType.RELU6
    assert attributes_of(options) == {
        "padding": "valid",
        "stride_w": 0,
        "stride_h": 2,
        "fused_activation_function": "relu6",
        "dilation_w_factor": 1,
        "dilation_h_factor": 1,
        "quantized_bias_type": "float32",
    }


def test_attributes_that_are_vectors_strings_and_floats() -> None:
    bucketize = schema.BucketizeOptionsT()
    bucketize.boundaries = np.array([0.5, 2.0], np.float32)
    assert attributes_of(bucketize) == {"boundaries": (0.5, 2.0)}
    variable = schema.VarHandleOptionsT()
    variable.container, variable.sharedName = b"box", None
    assert attributes_of(variable) == {"container": "box"}
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 0.5
    assert attributes_of(softmax) == {"beta": 0.5}
    window = schema.StablehloReduceWindowOptionsT()
    window.padding = [0, 1]
    assert attributes_of(window)["padding"] == (0, 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (schema.Conv2DOptionsT(padding=7), "padding has the unknown value 7"),
        (schema.CastOptionsT(inDataType=99), "in_data_type has the unknown element type 99"),
    ],
)
def test_unknown_enumerators(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attributes_of(options)


@pytest.mark.parametrize(
    "union", [schema.BuiltinOptions, schema.BuiltinOptions2], ids=lambda union: union.__name__
)
def test_all_options_of_the_schema_have_attributes(union: type) -> None:
    for name, value in vars(union).items():
        if isinstance(value, int) and value:
            attributes = attributes_of(getattr(schema, f"{name}T")())
            assert all(isinstance(v, bool | int | float | str) for v in attributes.values())


def _tensor(index: int, *shape: int, dynamic: bool = False, variable: bool = False) -> Tensor:
    return Tensor(index, "", shape, "float32", None, False, variable, 4 * math.prod(shape), dynamic)


@pytest.mark.parametrize(
    ("kind", "inputs", "output", "expected"),
    [
        ("conv2d", [(1, 9, 9, 8), (16, 3, 3, 8)], (1, 9, 9, 16), 81 * 16 * 9 * 8),
        # Two groups: the filter has half of the channels.
        ("conv2d", [(1, 9, 9, 8), (16, 3, 3, 4)], (1, 9, 9, 16), 81 * 16 * 9 * 4),
        ("depthwise_conv2d", [(1, 9, 9, 8), (1, 3, 3, 8)], (1, 7, 7, 8), 49 * 8 * 9),
        ("depthwise_conv2d", [(1, 9, 9, 8), (1, 3, 3, 16)], (1, 7, 7, 16), 49 * 16 * 9),
        ("transpose_conv2d", [(4,), (5, 2, 2, 3), (1, 4, 4, 3)], (1, 8, 8, 5), 16 * 3 * 4 * 5),
        ("conv3d", [(1, 4, 4, 4, 2), (3, 3, 3, 2, 6)], (1, 2, 2, 2, 6), 8 * 6 * 27 * 2),
        ("conv3d_transpose", [(5,), (2, 2, 2, 6, 3), (1, 2, 2, 2, 3)], (1, 4, 4, 4, 6), 24 * 48),
        ("fully_connected", [(2, 5, 8), (10, 8)], (2, 5, 10), 10 * 8 * 10),
        ("batch_matmul", [(3, 2, 5), (3, 5, 7)], (3, 2, 7), 3 * 2 * 5 * 7),
        # The left operand is transposed.
        ("batch_matmul", [(5, 2), (3, 5, 7)], (3, 2, 7), 3 * 2 * 5 * 7),
        ("batch_matmul", [(5,), (5, 7)], (7,), 0),
        # Input and recurrent weights count for each step, the bias and the state do not.
        ("unidirectional_sequence_lstm", [(2, 6, 8), (4, 8), (4, 4), (4,)], (2, 6, 4), 12 * 48),
        ("conv2d", [(1, 9, 9, 8), (16, 3, 3)], (1, 9, 9, 16), 0),
        ("conv2d", [(1, 9, 9, 8)], (1, 9, 9, 16), 0),
        ("hard_swish", [(1, 9)], (1, 9), 0),
    ],
)
def test_macs(
    kind: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], expected: int
) -> None:
    tensors = [_tensor(index, *shape) for index, shape in enumerate(inputs)]
    parameters = set(range(1, len(inputs)))
    assert macs(kind, tensors, [_tensor(99, *output)], parameters) == expected


def test_macs_of_operands_that_are_missing_or_dynamic() -> None:
    image, weights = _tensor(0, 1, 4, 4, 2), _tensor(1, 3, 1, 1, 2)
    result = _tensor(2, 1, 4, 4, 3)
    assert macs("conv2d", [image, weights, None], [result], {1}) == 16 * 3 * 2
    assert macs("conv2d", [image, None], [result], {1}) == 0
    assert macs("conv2d", [image, weights], [_tensor(2, 1, 4, 4, 3, dynamic=True)], {1}) == 0
    assert macs("conv2d", [image, weights], [], {1}) == 0


def test_macs_of_mobilenet_v3_small(demo_model: Path) -> None:
    """The paper gives 56 M for the network (Howard et al., 2019, table 4)."""
    graph = read_tflite(demo_model)
    assert sum(op.macs for op in graph.ops) == pytest.approx(56e6, rel=0.1)


def test_macs_follow_arithmetic(demo_model: Path) -> None:
    """Against the products of a naive loop over LiteRT's own shapes of one convolution."""
    graph = read_tflite(demo_model)
    op = next(op for op in graph.ops if op.kind == "conv2d")
    interpreter = Interpreter(model_path=str(demo_model))
    interpreter.allocate_tensors()
    shapes = {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
    filters, result = shapes[op.inputs[1]], shapes[op.outputs[0]]
    assert op.macs == int(np.prod(result)) * int(np.prod(filters[1:]))
