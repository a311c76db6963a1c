"""The graph of a model: operators and the tensors between them, independent of any IR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

AttributeValue = int | float | bool | str | tuple[int, ...] | tuple[float, ...]


@dataclass(frozen=True)
class Quantization:
    """Affine quantisation: ``real = scale * (stored - zero_point)``.

    ``scales`` and ``zero_points`` have one entry for the whole tensor, or one for each index of
    dimension ``axis``.
    """

    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    axis: int = 0


@dataclass(frozen=True)
class Tensor:
    """One tensor of a graph.

    Attributes:
        index: position in ``Graph.tensors``, the TFLite tensor index.
        name: as the model has it; may be empty and need not be unique.
        shape: dimensions, outermost first.
        dtype: numpy's name of the element type, or ``int4``, ``string``, ``resource``, ``variant``.
        quantization: None for a tensor that is not quantised.
        is_constant: the model file holds its value.
        is_variable: it keeps its value from one run to the next.
        size_bytes: bytes of its elements; 0 where the type has no fixed size.
        is_dynamic: its shape is not known before the model runs.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    quantization: Quantization | None
    is_constant: bool
    is_variable: bool
    size_bytes: int
    is_dynamic: bool

    @property
    def is_8_bit(self) -> bool:
        """Whether its elements are integers of 8 bits."""
        return self.dtype in ("int8", "uint8")


@dataclass(frozen=True)
class Op:
    """One operator: the unit that is placed.

    Attributes:
        index: position in ``Graph.ops``, the operator's index in the TFLite subgraph.
        kind: field's term, for example ``conv2d``, ``depthwise_conv2d``, ``fully_connected``.
        tflite_name: the schema's name, for example ``CONV_2D``; for a custom operator its own name.
        version: operator version of the model file.
        inputs: tensor indices; -1 is an optional input that is not given.
        outputs: tensor indices.
        attributes: the schema's options, names in snake_case, enumerations as lower-case strings.
        macs: multiply-accumulates of one run.
        parameter_bytes: bytes of its constant inputs.
        input_bytes: bytes of its other inputs.
        output_bytes: bytes of its outputs.
        is_custom: it is a custom operator.
    """

    index: int
    kind: str
    tflite_name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    attributes: Mapping[str, AttributeValue]
    macs: int
    parameter_bytes: int
    input_bytes: int
    output_bytes: int
    is_custom: bool = False

    @property
    def label(self) -> str:
        """The name a user sees and types, for example ``12:conv2d``."""
        return f"{self.index}:{self.kind}"


@dataclass(frozen=True)
class Graph:
    """A model: operators in topological order, tensors, inputs and outputs.

    Attributes:
        name: file name without suffix, for messages.
        data: the flatbuffer the graph was read from; empty without one.
        sha256: hex digest of ``data``, or of ``ir``.
        inputs: tensor indices, in the model's order.
        outputs: tensor indices, in the model's order.
        input_names: names a caller may use, signature names where the model has a signature.
        output_names: likewise.
        constant_ops: indices of operators fed by constants only (float16 DEQUANTIZE, DENSIFY):
            they are not placed, but copied into every slice that uses them.
        whole_reason: why the model cannot be cut (control flow, resource variables), or empty.
        ir: of a graph that came as a Relax module: the module, in TVM's JSON.
    """

    name: str
    data: bytes = field(repr=False)
    sha256: str
    tensors: tuple[Tensor, ...] = field(repr=False)
    ops: tuple[Op, ...] = field(repr=False)
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    input_names: tuple[str, ...]
    output_names: tuple[str, ...]
    constant_ops: frozenset[int] = frozenset()
    whole_reason: str = ""
    ir: bytes = field(default=b"", repr=False)

    @cached_property
    def why_stateful(self) -> str:
        """Why a run may depend on those before, so that copies of the model would differ.

        Empty if none does. Of a model that cannot be cut it is not known.
        """
        kept = (tensor.name for tensor in self.tensors if tensor.is_variable)
        reasons = (f"tensor {name!r} keeps its value from run to run" for name in kept)
        return self.whole_reason or next(reasons, "")

    def is_constant(self, tensor: int) -> bool:
        """Whether a tensor's value is in the file, or made of such values by constant operators."""
        made_by = self.producer.get(tensor, -1)
        return self.tensors[tensor].is_constant or made_by in self.constant_ops

    @cached_property
    def producer(self) -> Mapping[int, int]:
        """Tensor index to the index of the operator that produces it."""
        return {tensor: op.index for op in self.ops for tensor in op.outputs if tensor >= 0}

    @cached_property
    def consumers(self) -> Mapping[int, tuple[int, ...]]:
        """Tensor index to the indices of the operators that read it, in topological order."""
        readers: dict[int, list[int]] = {}
        for op in self.ops:
            for tensor in dict.fromkeys(op.inputs):
                if tensor >= 0:
                    readers.setdefault(tensor, []).append(op.index)
        return {tensor: tuple(ops) for tensor, ops in readers.items()}

    @cached_property
    def placed_ops(self) -> tuple[int, ...]:
        """Indices of the operators that a placement assigns, in topological order."""
        return tuple(op.index for op in self.ops if op.index not in self.constant_ops)

    @cached_property
    def edges(self) -> tuple[tuple[int, int, int], ...]:
        """``(producer op, consumer op, tensor)`` between placed operators, each once."""
        return tuple(
            (self.producer[tensor], op.index, tensor)
            for op in self.ops
            if op.index not in self.constant_ops
            for tensor in dict.fromkeys(op.inputs)
            if tensor >= 0
            and tensor in self.producer
            and self.producer[tensor] not in self.constant_ops
        )
