"""Reading takes memory in proportion to the file, whatever the file says of itself."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence

import flatbuffers
import numpy as np
import pytest

from modelkit import Subgraph, Tensor, write_model
from models import MODELS
from tdse.errors import ModelError
from tdse.graph import read_tflite

# As read_tflite's docstring says.
BYTES_PER_BYTE = 200
CONSTANT_BYTES = 1 << 20

# Fields of the schema's tables.
TENSORS, OPERATORS = 0, 3
SHAPE, QUANTIZATION, INPUTS = 0, 4, 1
COUNT = 5000


class _Crafted(flatbuffers.Builder):
    """Writes tables that no converter writes: empty, or of parts that they share."""

    def __init__(self) -> None:
        super().__init__(1 << 16)

    def table(self, fields: dict[int, int] | None = None, numbers: Sequence[int] = ()) -> int:
        """A table of references, and of 32-bit scalars in the slots from 0."""
        fields = fields or {}
        self.StartObject(max([len(numbers), *(slot + 1 for slot in fields)]))
        for slot, value in fields.items():
            self.PrependUOffsetTRelativeSlot(slot, value, 0)
        for slot, number in enumerate(numbers):
            self.PrependUint32Slot(slot, number, 0)
        return int(self.EndObject())

    def tables(self, offsets: Sequence[int]) -> int:
        """A vector of tables."""
        self.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            self.PrependUOffsetTRelative(offset)
        return int(self.EndVector())

    def integers(self, values: Sequence[int]) -> int:
        """A vector of 32-bit integers."""
        return int(self.CreateNumpyVector(np.array(values, np.int32)))

    def model(self, field: int, tables: Sequence[int], subgraphs: int = 1) -> bytes:
        """A model of subgraphs that share one, with ``tables`` as one of its vectors."""
        subgraph = self.table({field: self.tables(tables)})
        code, buffer = self.table(), self.table()
        fields = {1: self.tables([code]), 2: self.tables([subgraph] * subgraphs)}
        self.Finish(self.table({**fields, 4: self.tables([buffer])}, [3]), b"TFL3")
        return bytes(self.Output())


def _empty_tensors() -> bytes:
    crafted = _Crafted()
    return crafted.model(TENSORS, [crafted.table() for _ in range(COUNT)])


def _empty_operators() -> bytes:
    crafted = _Crafted()
    return crafted.model(OPERATORS, [crafted.table() for _ in range(COUNT)])


def _one_tensor_many_times() -> bytes:
    crafted = _Crafted()
    return crafted.model(TENSORS, [crafted.table()] * COUNT)


def _one_subgraph_many_times() -> bytes:
    crafted = _Crafted()
    return crafted.model(TENSORS, [crafted.table() for _ in range(200)], subgraphs=200)


def _one_shape_for_all() -> bytes:
    crafted = _Crafted()
    shape = crafted.integers([1000] * 3)
    return crafted.model(TENSORS, [crafted.table({SHAPE: shape}) for _ in range(COUNT)])


def _shapes_of_many_dimensions() -> bytes:
    crafted = _Crafted()
    shape = crafted.integers(range(1000, 2000))
    return crafted.model(TENSORS, [crafted.table({SHAPE: shape}) for _ in range(4)])


def _many_dimensions_shared() -> bytes:
    crafted = _Crafted()
    shape = crafted.integers(range(1000, 2000))
    return crafted.model(TENSORS, [crafted.table({SHAPE: shape}) for _ in range(COUNT)])


def _operands_shared() -> bytes:
    crafted = _Crafted()
    operands = crafted.integers([-1] * 1000)
    return crafted.model(OPERATORS, [crafted.table({INPUTS: operands}) for _ in range(3)])


def _scales_shared() -> bytes:
    crafted = _Crafted()
    scales = crafted.integers(np.full(1000, 0.5, np.float32).view(np.int32).tolist())
    quantization = crafted.table({2: scales})
    return crafted.model(TENSORS, [crafted.table({QUANTIZATION: quantization}) for _ in range(3)])


def _cut_off() -> bytes:
    return MODELS["tiny_conv_int8"]()[:-100]


def _petabytes() -> bytes:
    tensors = [Tensor(f"t{i}", (1 << 19, 1 << 19)) for i in range(1000)]
    return write_model([Subgraph(tensors, [], (), ())])


@pytest.mark.parametrize(
    "build",
    [
        _empty_tensors,
        _empty_operators,
        _one_tensor_many_times,
        _one_subgraph_many_times,
        _one_shape_for_all,
        _shapes_of_many_dimensions,
        _many_dimensions_shared,
        _operands_shared,
        _scales_shared,
        _cut_off,
        _petabytes,
        *MODELS.values(),
    ],
)
def test_reading_is_bounded_by_the_size_of_the_file(build: Callable[[], bytes]) -> None:
    data = build()
    tracemalloc.start()
    try:
        read_tflite(data)
    except ModelError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= BYTES_PER_BYTE * len(data) + CONSTANT_BYTES


@pytest.mark.parametrize("build", [_one_tensor_many_times, _one_subgraph_many_times])
def test_tables_that_many_refer_to_are_refused(build: Callable[[], bytes]) -> None:
    with pytest.raises(ModelError, match="its tables overlap"):
        read_tflite(build())


def test_vectors_that_many_refer_to_are_refused() -> None:
    with pytest.raises(ModelError, match="its vectors overlap"):
        read_tflite(_many_dimensions_shared())
