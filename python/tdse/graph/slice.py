"""Cut operators out of a ``.tflite`` into one that runs on its own."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from ..errors import ModelError
from .model import Graph
from .unpack import buffer_view, indices, unpacked
from .writer import AlignedBuffer, pack_model

# Flatbuffers address 2 GiB; the tables beside the constants take the rest.
_MAX_CONSTANT_BYTES = 2_000_000_000

# Metadata that changes how a runtime computes; the rest describes the whole model.
_KEPT_METADATA = (b"reduced_precision_support",)


@dataclass(frozen=True)
class Slice:
    """A model cut out of another.

    Attributes:
        data: the flatbuffer.
        ops: placed operators in it, indices of the graph it was cut from, ascending.
        inputs: tensor indices of that graph, in the order of the slice's inputs.
        outputs: tensor indices of that graph, in the order of the slice's outputs.
    """

    data: bytes
    ops: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def slice_model(graph: Graph, ops: Iterable[int]) -> Slice:
    """A model of some operators of ``graph``, with their constants and constant operators.

    Before, of a model with operators 0 to 3 and the tensors between them::

        a -> 0 -> b -> 1 -> c -> 2 -> d -> 3 -> e        b -> 3

    After ``slice_model(graph, [1, 2])``, the same tensors under the same names::

        b -> 1 -> c -> 2 -> d

    Inputs come in the order of first use. Outputs are what other operators or the caller of the
    model need: the model's outputs first, in its order.

    Raises:
        ModelError: the model cannot be cut, an operator does not exist, or the set is empty or
            not convex (an operator outside lies on a path between two of them).
    """
    chosen = sorted(set(ops) - graph.constant_ops)
    _check(graph, chosen)
    members = _with_constant_ops(graph, chosen)
    inputs, outputs = _border(graph, members)
    return Slice(_pack(graph, members, inputs, outputs), tuple(chosen), inputs, outputs)


def whole_model(graph: Graph) -> Slice:
    """The unchanged model as a slice, also for a model that cannot be cut."""
    return Slice(graph.data, graph.placed_ops, graph.inputs, graph.outputs)


def _check(graph: Graph, chosen: Sequence[int]) -> None:
    what = "cannot cut the model"
    if graph.whole_reason:
        raise ModelError(what, where=graph.name, why=graph.whole_reason, hint="place it as a whole")
    if not chosen:
        raise ModelError(what, where=graph.name, why="no operators were chosen")
    if chosen[0] < 0 or chosen[-1] >= len(graph.ops):
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise ModelError(
            what, where=graph.name, why=f"it has {len(graph.ops)} operators, but no {wrong}"
        )
    between = _between(graph, chosen)
    if between is not None:
        raise ModelError(
            what,
            where=graph.name,
            why=f"operator {graph.ops[between[0]].label} lies between chosen ones, "
            f"before {graph.ops[between[1]].label}",
            hint="choose it as well, or cut into two",
        )


def _between(graph: Graph, chosen: Sequence[int]) -> tuple[int, int] | None:
    """An operator outside that a chosen one needs and that needs a chosen one, and the former."""
    inside = set(chosen)
    # Outside operators behind a chosen one; operators come in topological order, so those that
    # matter have an index between the first and the last chosen one.
    behind: set[int] = set()
    producer = graph.producer
    for op in graph.ops[chosen[0] : chosen[-1] + 1]:
        for tensor in op.inputs:
            source = producer.get(tensor, -1)
            if op.index in inside:
                if source in behind:
                    return source, op.index
            elif source in inside or source in behind:
                behind.add(op.index)
    return None


def _with_constant_ops(graph: Graph, chosen: Sequence[int]) -> list[int]:
    members = set(chosen)
    waiting = list(chosen)
    while waiting:
        for tensor in graph.ops[waiting.pop()].inputs:
            source = graph.producer.get(tensor, -1)
            if source in graph.constant_ops and source not in members:
                members.add(source)
                waiting.append(source)
    return sorted(members)


def _border(graph: Graph, members: Sequence[int]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tensors that enter and leave a set of operators."""
    inside = set(members)
    produced = {
        tensor: None for index in members for tensor in graph.ops[index].outputs if tensor >= 0
    }
    inputs = {
        tensor: None
        for index in members
        for tensor in graph.ops[index].inputs
        if tensor >= 0
        and tensor not in produced
        and not graph.tensors[tensor].is_constant
        and not graph.tensors[tensor].is_variable
    }
    outputs = {tensor: None for tensor in graph.outputs if tensor in produced}
    placed = [t for t in produced if graph.producer[t] not in graph.constant_ops]
    for tensor in placed:
        if any(reader not in inside for reader in graph.consumers.get(tensor, ())):
            outputs[tensor] = None
    if not outputs:
        # Nobody needs the result, but a model without outputs cannot be run.
        outputs = {t: None for t in placed if not graph.consumers.get(t)}
    return tuple(inputs), tuple(outputs)


def _pack(
    graph: Graph, members: Sequence[int], inputs: Sequence[int], outputs: Sequence[int]
) -> bytes:
    source = unpacked(graph)
    writer = _Writer(graph, source)
    for index in inputs:
        writer.add_tensor(index)
    for index in members:
        writer.add_op(index)
    writer.set_border(inputs, outputs)
    for metadata in source.metadata or []:
        if metadata.name in _KEPT_METADATA:
            writer.add_metadata(metadata)
    return writer.finish()


class _Writer:
    """A model in the making, with the new numbers of what it has taken from the old one."""

    def __init__(self, graph: Graph, source: Any) -> None:
        self._graph = graph
        self._source = source
        self._subgraph = schema.SubGraphT(name="main", tensors=[], operators=[])
        self._model = schema.ModelT(
            version=3,
            description="tdse slice",
            operatorCodes=[],
            subgraphs=[self._subgraph],
            # Buffer 0 is the shared empty one by convention.
            buffers=[AlignedBuffer(memoryview(b""))],
        )
        self._tensors: dict[int, int] = {-1: -1}
        self._buffers: dict[int, int] = {}
        self._opcodes: dict[int, int] = {}
        self._constant_bytes = 0

    def add_tensor(self, index: int) -> int:
        """Take over a tensor, once, and return its new number."""
        if index in self._tensors:
            return self._tensors[index]
        tensor = copy.copy(self._source.subgraphs[0].tensors[index])
        self._tensors[index] = len(self._subgraph.tensors)
        self._subgraph.tensors.append(tensor)
        known = self._graph.tensors[index]
        # LiteRT's Python interface refuses what is not UTF-8.
        tensor.name = known.name.encode() if tensor.name is not None else None
        tensor.buffer = self._add_buffer(tensor.buffer) if known.is_constant else 0
        if not known.is_dynamic:
            # A batch size left open must not make the slice's border look dynamic.
            tensor.shapeSignature = None
        details = tensor.quantization and tensor.quantization.details
        if hasattr(details, "scales"):
            # Blockwise quantisation keeps its parameters in tensors.
            tensor.quantization = copy.copy(tensor.quantization)
            tensor.quantization.details = details = copy.copy(details)
            details.scales = self._add_parameter(details.scales)
            details.zeroPoints = self._add_parameter(details.zeroPoints)
        return self._tensors[index]

    def add_op(self, index: int) -> None:
        """Take over an operator with its tensors."""
        operator = copy.copy(self._source.subgraphs[0].operators[index])
        operator.opcodeIndex = self._add_opcode(operator.opcodeIndex)
        operator.inputs = self._renumbered(operator.inputs)
        operator.outputs = self._renumbered(operator.outputs)
        operator.intermediates = self._renumbered(operator.intermediates)
        operator.debugMetadataIndex = -1
        if operator.largeCustomOptionsOffset:
            operator.customOptions = np.frombuffer(custom_options(self._graph, index), np.uint8)
            operator.largeCustomOptionsOffset = operator.largeCustomOptionsSize = 0
        self._subgraph.operators.append(operator)

    def set_border(self, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        """Declare inputs and outputs, in the subgraph and as its signature."""
        self._subgraph.inputs = self._renumbered(inputs)
        self._subgraph.outputs = self._renumbered(outputs)
        self._model.signatureDefs = [
            schema.SignatureDefT(
                signatureKey="serving_default",
                inputs=self._tensor_maps("args", inputs),
                outputs=self._tensor_maps("output", outputs),
            )
        ]

    def add_metadata(self, metadata: Any) -> None:
        """Take over a metadata entry with its buffer."""
        self._model.metadata = [
            *(self._model.metadata or []),
            schema.MetadataT(name=metadata.name, buffer=self._add_buffer(metadata.buffer)),
        ]

    def finish(self) -> bytes:
        """The flatbuffer."""
        if self._constant_bytes > _MAX_CONSTANT_BYTES:
            raise ModelError(
                "cannot cut the model",
                where=self._graph.name,
                why=f"the slice has {self._constant_bytes} bytes of constants, over the 2 GB "
                "that the format allows",
                hint="cut it into smaller ones",
            )
        return pack_model(self._model)

    def _renumbered(self, tensors: Iterable[int] | None) -> Any:
        if tensors is None:
            return None
        return np.array([self.add_tensor(index) for index in indices(tensors)], np.int32)

    def _add_parameter(self, index: int) -> int:
        count = len(self._graph.tensors)
        return self.add_tensor(index) if 0 <= index < count else index

    def _add_buffer(self, index: int) -> int:
        value = buffer_view(self._graph.data, self._source.buffers[index])
        if not index or not len(value):
            return 0
        if index not in self._buffers:
            self._buffers[index] = len(self._model.buffers)
            self._model.buffers.append(AlignedBuffer(value))
            self._constant_bytes += len(value)
        return self._buffers[index]

    def _add_opcode(self, index: int) -> int:
        if index not in self._opcodes:
            self._opcodes[index] = len(self._model.operatorCodes)
            self._model.operatorCodes.append(self._source.operatorCodes[index])
        return self._opcodes[index]

    def _tensor_maps(self, prefix: str, tensors: Sequence[int]) -> list[Any]:
        # Equal widths, because some readers sort signatures by name.
        width = len(str(len(tensors)))
        return [
            schema.TensorMapT(name=f"{prefix}_{k:0{width}}", tensorIndex=self._tensors[index])
            for k, index in enumerate(tensors)
        ]


def custom_options(graph: Graph, op: int) -> bytes:
    """The options of a custom operator, wherever the file keeps them; empty if it has none."""
    operator = unpacked(graph).subgraphs[0].operators[op]
    if operator.largeCustomOptionsOffset:
        start = operator.largeCustomOptionsOffset
        return graph.data[start : start + operator.largeCustomOptionsSize]
    return bytes(operator.customOptions) if operator.customOptions is not None else b""
