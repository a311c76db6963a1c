"""Which tensors count as having no known shape."""

from __future__ import annotations

import numpy as np
import pytest

from models import MODELS
from tampering import changed
from tdse.graph import Op, read_tflite
from tdse.graph.dynamic import RawTensor, dynamic_tensors

OPEN = RawTensor((1, 4), (-1, 4), True)
CLOSED = RawTensor((1, 4), (), True)
SCALAR = RawTensor((), (), True)
UNRANKED = RawTensor((), (), False)


def _op(kind: str, inputs: tuple[int, ...], outputs: tuple[int, ...], custom: bool = False) -> Op:
    return Op(0, kind, kind.upper(), 1, inputs, outputs, {}, 0, 0, 0, 0, custom)


def test_open_batch_is_taken_as_stored() -> None:
    graph = read_tflite(MODELS["dynamic_batch"]())
    assert not any(tensor.is_dynamic for tensor in graph.tensors)
    assert graph.tensors[graph.inputs[0]].shape == (1, 4)


def test_output_by_value_is_dynamic() -> None:
    graph = read_tflite(MODELS["dynamic_output"]())
    assert [tensor.name for tensor in graph.tensors if tensor.is_dynamic] == ["places"]


def test_negative_dimensions_are_dynamic() -> None:
    def open_input(model: object) -> None:
        model.subgraphs[0].tensors[0].shape = np.array([-1, 4], np.int32)  # type: ignore[attr-defined]

    graph = read_tflite(changed(MODELS["custom_op"](), open_input))
    assert [tensor.is_dynamic for tensor in graph.tensors] == [True, False, False, False]
    assert graph.tensors[0].size_bytes == 16


@pytest.mark.parametrize(
    ("tensors", "ops", "constants", "dynamic"),
    [
        # An open output of open inputs is the batch's.
        ([OPEN, OPEN], [_op("relu", (0,), (1,))], set(), set()),
        # One of closed inputs comes from values.
        ([CLOSED, OPEN], [_op("example", (0,), (1,), True)], set(), {1}),
        # What is computed from a dynamic tensor is dynamic if it is open.
        ([CLOSED, OPEN, OPEN, CLOSED], [
            _op("where", (0,), (1,)), _op("abs", (1,), (2,)), _op("sum", (2, -1), (3,)),
        ], set(), {1, 2}),
        # WHERE is dynamic even if the file does not say so.
        ([CLOSED, CLOSED], [_op("where", (0,), (1,))], set(), {1}),
        # The second output of UNIQUE has the shape of its input.
        ([CLOSED, CLOSED, CLOSED], [_op("unique", (0,), (1, 2))], set(), {1}),
        # A shape that is a constant, or follows from shapes, is known.
        ([OPEN, CLOSED, OPEN], [_op("reshape", (0, 1), (2,))], {1}, set()),
        ([OPEN, CLOSED, CLOSED, CLOSED, OPEN], [
            _op("shape", (0,), (1,)), _op("mul", (1, 3), (2,)), _op("reshape", (0, 2), (4,)),
        ], {3}, set()),
        # One that is an input of the model is not.
        ([OPEN, CLOSED, OPEN], [_op("reshape", (0, 1), (2,))], set(), {2}),
        ([CLOSED, OPEN], [_op("fill", (0, 0), (1,))], set(), {1}),
        # Nor one that follows from the shape of a dynamic tensor.
        ([CLOSED, OPEN, CLOSED, OPEN], [
            _op("where", (0,), (1,)), _op("shape", (1,), (2,)), _op("fill", (2, 0), (3,)),
        ], set(), {1, 3}),
        # But a stored shape without -1 is the converter's word.
        ([CLOSED, CLOSED], [_op("fill", (0, 0), (1,))], set(), set()),
        # A reshape to a shape that does not hold the elements.
        ([OPEN, RawTensor((1, 1), (-1, 1), True)], [_op("reshape", (0,), (1,))], set(), {1}),
        # Unknown rank, where the converter tells it, or where nobody would make a scalar.
        ([CLOSED, UNRANKED], [_op("example", (0,), (1,), True)], set(), {1}),
        ([CLOSED, UNRANKED], [_op("abs", (0,), (1,))], set(), {1}),
        ([CLOSED, SCALAR], [_op("sum", (0,), (1,))], set(), set()),
        ([UNRANKED, UNRANKED], [_op("abs", (0,), (1,))], set(), set()),
        # A resource has no shape to know, and an output may be left out.
        ([CLOSED, UNRANKED], [_op("var_handle", (), (1,))], set(), set()),
        ([CLOSED, CLOSED], [_op("split", (0, 0), (-1, 1))], set(), set()),
    ],
)  # fmt: skip
def test_rules(
    tensors: list[RawTensor], ops: list[Op], constants: set[int], dynamic: set[int]
) -> None:
    assert dynamic_tensors(tensors, ops, constants) == dynamic
