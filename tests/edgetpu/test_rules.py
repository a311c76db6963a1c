"""What the Edge TPU refuses, and in which words; limits are those of Coral's table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from modelkit import Operator, Subgraph, Tensor, write_model
from tdse.edgetpu.limits import LIMITATION, UNSUPPORTED_RANK, UNSUPPORTED_TYPE
from tdse.edgetpu.mapping import compiler_mapping, would_help
from tdse.edgetpu.rules import NOT_SUPPORTED, RUNTIMES, TABLE, refusal
from tdse.graph.kinds import BUILTIN_NAMES, kind_of
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite

Constant = np.ndarray


def int8(name: str, *shape: int) -> Tensor:
    return Tensor(name, shape, "int8", scales=(0.5,), zero_points=(3,))


def constant(name: str, data: Sequence[int] | Constant, dtype: str = "int32") -> Tensor:
    array = np.asarray(data, dtype)
    if dtype == "int8":
        return Tensor(name, array.shape, dtype, array, scales=(0.5,), zero_points=(3,))
    return Tensor(name, array.shape, dtype, array)


def one(code: str, inputs: Sequence[Tensor], output: Tensor, **options: object) -> Graph:
    """A model of one operator; options by the schema's names."""
    table = _options(code, options)
    operator = Operator(code, tuple(range(len(inputs))), (len(inputs),), table)
    given = tuple(i for i, tensor in enumerate(inputs) if tensor.data is None)
    return read_tflite(
        write_model([Subgraph([*inputs, output], [operator], given, (len(inputs),))])
    )


def _options(code: str, given: Mapping[str, object]) -> object | None:
    names = {
        "CONV_2D": "Conv2DOptionsT",
        "MEAN": "ReducerOptionsT",
        "CONCATENATION": "ConcatenationOptionsT",
        "AVERAGE_POOL_2D": "Pool2DOptionsT",
        "FULLY_CONNECTED": "FullyConnectedOptionsT",
        "PACK": "PackOptionsT",
        "STRIDED_SLICE": "StridedSliceOptionsT",
        "RESIZE_BILINEAR": "ResizeBilinearOptionsT",
        "SOFTMAX": "SoftmaxOptionsT",
        "SPLIT": "SplitOptionsT",
    }
    if code not in names:
        return None
    table = getattr(schema, names[code])()
    if code == "CONV_2D":
        table.strideW = table.strideH = 1
    if code == "PACK":
        table.valuesCount = 1
    for name, value in given.items():
        setattr(table, name, value)
    return table


def filter_(*shape: int) -> Tensor:
    return constant("filter", np.ones(shape), "int8")


RELU = schema.ActivationFunctionType.RELU
IMAGE = int8("x", 1, 8, 8, 4)
MEAN_XY, MEAN_Z = constant("axes", [1, 2]), constant("axes", [3])


@pytest.mark.parametrize(
    "graph",
    [
        one("CONV_2D", [IMAGE, filter_(4, 1, 1, 4)], IMAGE, dilationWFactor=2, dilationHFactor=2),
        one("MEAN", [IMAGE, MEAN_XY], int8("y", 1, 4)),
        one("MEAN", [IMAGE, MEAN_Z], int8("y", 1, 8, 8)),
        one(
            "PAD", [IMAGE, constant("p", [[0, 0], [1, 1], [0, 0], [0, 2]])], int8("y", 1, 10, 8, 6)
        ),
        one("PACK", [int8("x", 1, 8, 4)], int8("y", 1, 8, 1, 4), axis=2),
        one(
            "CONCATENATION",
            [IMAGE, constant("c", np.full((1, 8, 8, 2), 3), "int8")],
            int8("y", 1, 8, 8, 6),
        ),
        one(
            "STRIDED_SLICE",
            [IMAGE, constant("b", [0] * 4), constant("e", [1, 4, 4, 4]), constant("s", [1] * 4)],
            int8("y", 1, 4, 4, 4),
        ),
        one("RESIZE_BILINEAR", [IMAGE, constant("size", [16, 16])], int8("y", 1, 16, 16, 4)),
        one("SOFTMAX", [int8("x", 1, 16_000)], int8("y", 1, 16_000)),
        one(
            "QUANTIZE", [IMAGE], Tensor("y", (1, 8, 8, 4), "uint8", scales=(1.0,), zero_points=(0,))
        ),
    ],
)
def test_allowed(graph: Graph) -> None:
    assert refusal(graph, 0) is None


@pytest.mark.parametrize(
    ("graph", "status", "detail"),
    [
        (
            one("CONV_2D", [IMAGE, filter_(4, 1, 1, 4)], IMAGE, dilationWFactor=2),
            LIMITATION,
            "its dilation is 2 in x and 1 in y",
        ),
        (
            one("CONV_2D", [IMAGE, int8("w", 1, 1, 1, 4)], int8("y", 1, 8, 8, 1)),
            LIMITATION,
            "its parameter 'w' is no constant",
        ),
        (
            one("MEAN", [int8("x", 1, 8, 8, 6), MEAN_Z], int8("y", 1, 8, 8)),
            LIMITATION,
            "over a depth of 6, no multiple of 4",
        ),
        (
            one("MEAN", [IMAGE, constant("axes", [0])], int8("y", 8, 8, 4)),
            LIMITATION,
            "reduces along the batch",
        ),
        (
            one(
                "PAD",
                [IMAGE, constant("p", [[1, 0], [0, 0], [0, 0], [0, 0]])],
                int8("y", 1, 8, 8, 4),
            ),
            LIMITATION,
            "pads along the batch",
        ),
        (
            one("PACK", [int8("x", 1, 1, 1, 4)], int8("y", 1, 1, 1, 1, 4), axis=0),
            LIMITATION,
            "packs along the batch",
        ),
        (
            one(
                "AVERAGE_POOL_2D",
                [IMAGE],
                IMAGE,
                filterWidth=1,
                filterHeight=1,
                strideW=1,
                strideH=1,
                fusedActivationFunction=RELU,
            ),
            LIMITATION,
            "has the activation relu fused",
        ),
        (
            one(
                "CONCATENATION",
                [IMAGE, constant("c", np.ones((1, 8, 8, 2)), "int8")],
                int8("y", 1, 8, 8, 6),
            ),
            LIMITATION,
            "its constant 'c' is not all zero",
        ),
        (
            one(
                "CONCATENATION",
                [IMAGE, IMAGE, constant("c", np.full((1, 8, 8, 2), 3), "int8")],
                int8("y", 1, 8, 8, 10),
            ),
            LIMITATION,
            "of its 3 operands one is a constant",
        ),
        (
            one("FULLY_CONNECTED", [int8("x", 3, 4), filter_(5, 4)], int8("y", 3, 5)),
            LIMITATION,
            "its result has the shape [3, 5]",
        ),
        (
            one(
                "STRIDED_SLICE",
                [
                    IMAGE,
                    constant("b", [0] * 4),
                    constant("e", [1, 8, 8, 4]),
                    constant("s", [1, 2, 2, 1]),
                ],
                int8("y", 1, 4, 4, 4),
            ),
            LIMITATION,
            "a stride is not 1",
        ),
        (
            one(
                "RESIZE_BILINEAR",
                [int8("x", 1, 1, 1, 4), constant("size", [33, 33])],
                int8("y", 1, 33, 33, 4),
            ),
            LIMITATION,
            "1x1 to 33x33x4 loses precision",
        ),
        (
            one(
                "RESIZE_BILINEAR",
                [int8("x", 1, 256, 256, 32), constant("size", [512, 512])],
                int8("y", 1, 512, 512, 32),
            ),
            LIMITATION,
            "too large a resize",
        ),
        (
            one("SOFTMAX", [int8("x", 1, 16_001)], int8("y", 1, 16_001)),
            LIMITATION,
            "over 16,001 elements, at most 16,000",
        ),
        (one("SOFTMAX", [int8("x", 1, 2, 4)], int8("y", 1, 2, 4)), LIMITATION, "not one dimension"),
        (
            one(
                "SPLIT",
                [constant("axis", [0]), int8("x", 1, 1, 2, 4)],
                int8("y", 1, 1, 2, 4),
                numSplits=1,
            ),
            LIMITATION,
            "splits along the batch",
        ),
        (
            one("HARD_SWISH", [IMAGE], int8("y", 1, 16, 16, 1)),
            NOT_SUPPORTED,
            "HARD_SWISH is not among",
        ),
        (
            one("ADD", [int8("x", 2, 8, 8, 4), int8("z", 2, 8, 8, 4)], int8("y", 2, 8, 8, 4)),
            UNSUPPORTED_RANK,
            "[2, 8, 8, 4]",
        ),
        (
            one("ADD", [IMAGE, Tensor("c", (1,), data=np.ones(1, np.float32))], IMAGE),
            UNSUPPORTED_TYPE,
            "tensor 'c' is float32",
        ),
        (
            one("ABS", [Tensor("x", (4,))], Tensor("y", (4,))),
            UNSUPPORTED_TYPE,
            "tensor 'x' is float32",
        ),
    ],
)
def test_refused(graph: Graph, status: str, detail: str) -> None:
    refused = refusal(graph, 0)
    assert refused is not None
    assert refused.status == status
    assert detail in str(refused)


def test_the_runtime_decides() -> None:
    pack = one("PACK", [IMAGE], int8("y", 1, 8, 8, 1, 4), axis=3)
    assert "only from runtime 13 on, the platform has 12" in str(refusal(pack, 0, 12))
    deep = one("MEAN", [IMAGE, MEAN_Z], int8("y", 1, 8, 8))
    assert "it reduces the depth" in str(refusal(deep, 0, 12))
    assert refusal(deep, 0, 13) is None


def test_the_table_is_of_operators_and_runtimes() -> None:
    kinds = {kind_of(name) for name in BUILTIN_NAMES.values()}
    for kind, rows in TABLE.items():
        assert kind in kinds
        assert all(row.since in RUNTIMES and row.source for row in rows)
        # No runtime has two rows.
        for earlier, later in pairwise(rows):
            assert earlier.until is not None and earlier.until < later.since


def chain(*codes: str, floats: Sequence[int] = ()) -> Graph:
    """Operators in a row, on int8 but for the tensors of these numbers."""
    tensors = [
        Tensor(f"t{i}", (1, 4)) if i in floats else int8(f"t{i}", 1, 4)
        for i in range(len(codes) + 1)
    ]
    operators = [Operator(code, (i,), (i + 1,)) for i, code in enumerate(codes)]
    return read_tflite(write_model([Subgraph(tensors, operators, (0,), (len(codes),))]))


def test_the_compiler_stops_at_the_first_operator_it_cannot_take() -> None:
    graph = chain("TANH", "ABS", "TANH", "LOGISTIC", "ABS", "TANH")
    mapping = compiler_mapping(graph)
    assert mapping.mapped == {0}
    assert mapping.reason(graph, 2) == (
        "More than one subgraph is not supported: it comes behind 1:abs"
    )
    assert mapping.reason(graph, 1).startswith("Operation not supported: ABS")
    assert [(op, more) for op, more, _ in would_help(graph, mapping)] == [(1, 2)]


def test_the_compiler_skips_floats_at_the_beginning_only() -> None:
    graph = chain("ABS", "QUANTIZE", "TANH", "DEQUANTIZE", floats=(0, 1, 4))
    mapping = compiler_mapping(graph)
    assert mapping.prefix == {0, 1} and mapping.mapped == {2}
    # What cannot be taken on 8-bit integers at the beginning ends it all.
    assert not compiler_mapping(chain("ABS", "TANH")).mapped


def test_branches_beside_what_cannot_be_taken_are_mapped() -> None:
    tensors = [int8(f"t{i}", 1, 4) for i in range(5)]
    operators = [
        Operator("ABS", (0,), (1,)),
        Operator("TANH", (0,), (2,)),
        Operator("LOGISTIC", (2,), (3,)),
        Operator("ADD", (1, 3), (4,), schema.AddOptionsT()),
    ]
    graph = read_tflite(write_model([Subgraph(tensors, operators, (0,), (4,))]))
    assert compiler_mapping(graph).mapped == {1, 2}
