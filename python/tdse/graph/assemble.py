"""Make a graph from the schema's object tree of a model."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from .checks import (
    check_buffers,
    check_calls,
    check_indices,
    check_order,
    check_quantization,
    check_sparsity,
)
from .dynamic import RawTensor, dynamic_tensors
from .kinds import BUILTIN_NAMES, DTYPES, attributes_of, kind_of, macs, size_bytes
from .model import AttributeValue, Graph, Op, Quantization, Tensor
from .operator_checks import MAX_TENSOR_BYTES, check_operator
from .unpack import UnreadableError, indices, tensor_view, text

# The only version of the format that LiteRT reads (TFLITE_SCHEMA_VERSION).
SCHEMA_VERSION = 3

# What the widest used arrays in Python may have; kernels have fewer.
_MAX_RANK = 32

# Kinds that give another result each time: copies of one would not agree with each other.
_RANDOM_KINDS = frozenset(
    {"multinomial", "random_standard_normal", "random_uniform", "stablehlo_rng_bit_generator"}
)


def assemble(model: Any, data: bytes) -> Graph:
    """The graph of subgraph 0, still without name and digest.

    Args:
        model: ``ModelT`` of ``data``.
        data: the flatbuffer.

    Raises:
        UnreadableError: the parts of the model do not fit each other.
    """
    if model.version != SCHEMA_VERSION:
        raise UnreadableError(f"its schema version is {model.version} and not {SCHEMA_VERSION}")
    if not model.subgraphs:
        raise UnreadableError("it has no subgraph")
    check_buffers(model, len(data))
    ops, tensors = _parts(model, data, 0)
    calls = [_called(ops)]
    for number in range(1, len(model.subgraphs)):
        # Only a runtime looks into these, as what operators of others may run.
        try:
            calls.append(_called(_parts(model, data, number)[0]))
        except UnreadableError as error:
            raise UnreadableError(f"subgraph {number}: {error}", error.hint) from error
    check_calls(calls)
    subgraph = model.subgraphs[0]
    inputs, outputs = indices(subgraph.inputs), indices(subgraph.outputs)
    whole_reason = _whole_reason(ops, tensors, inputs, outputs)
    # The values that control flow leaves in resources are not seen here, so only models that
    # have none can be told to lack a value.
    stored = frozenset(
        tensor.index
        for tensor in tensors
        if tensor.is_constant
        and (
            whole_reason
            or not tensor.size_bytes
            or len(tensor_view(data, model, subgraph.tensors[tensor.index]))
        )
    )
    check_order(ops, tensors, inputs, outputs, stored)
    constant_ops = _constant_ops(ops, tensors, outputs)
    parameters = {tensor.index for tensor in tensors if tensor.is_constant}
    parameters.update(tensor for index in constant_ops for tensor in ops[index].outputs)
    return Graph(
        name="",
        data=data,
        sha256="",
        tensors=tensors,
        ops=tuple(_with_sizes(op, tensors, parameters) for op in ops),
        inputs=inputs,
        outputs=outputs,
        input_names=_names(inputs, tensors, _signature_entries(model, "inputs"), "input"),
        output_names=_names(outputs, tensors, _signature_entries(model, "outputs"), "output"),
        constant_ops=constant_ops,
        whole_reason=whole_reason,
    )


def _parts(model: Any, data: bytes, number: int) -> tuple[list[Op], tuple[Tensor, ...]]:
    """The checked operators and tensors of a subgraph."""
    subgraph = model.subgraphs[number]
    check_indices(model, number)
    ops = [_op(model, subgraph, index) for index in range(len(subgraph.operators or []))]
    tensors = _tensors(model, subgraph, data, ops)

    def values(index: int) -> npt.NDArray[Any] | None:
        tensor, raw = tensors[index], subgraph.tensors[index]
        stored = tensor_view(data, model, raw)
        if tensor.dtype not in ("int32", "int64") or not tensor.is_constant or raw.sparsity:
            return None
        if len(stored) < tensor.size_bytes:
            return None
        return np.frombuffer(stored[: tensor.size_bytes], tensor.dtype).reshape(tensor.shape)

    for op in ops:
        check_operator(op, tensors, values)
    return ops, tensors


def _op(model: Any, subgraph: Any, index: int) -> Op:
    """Operator ``index`` without the numbers that depend on its tensors."""
    operator = subgraph.operators[index]
    opcode = model.operatorCodes[operator.opcodeIndex]
    # Files from before 2020 have the code in the narrower field only.
    builtin = max(opcode.builtinCode, opcode.deprecatedBuiltinCode)
    tflite_name = BUILTIN_NAMES.get(builtin, "")
    if tflite_name in ("", "PLACEHOLDER_FOR_GREATER_OP_CODES"):
        raise UnreadableError(
            f"operator {index} has the unknown builtin code {builtin}",
            "the model needs a newer ai-edge-litert",
        )
    is_custom = tflite_name == "CUSTOM"
    if is_custom:
        tflite_name = text(opcode.customCode)
        if not tflite_name:
            raise UnreadableError(f"operator {index} is a custom operator without a name")
    attributes: dict[str, AttributeValue] = {}
    try:
        for options in (operator.builtinOptions, operator.builtinOptions2):
            if options is not None:
                attributes.update(attributes_of(options))
    except ValueError as error:
        raise UnreadableError(f"operator {index} ({tflite_name}): {error}") from error
    return Op(
        index=index,
        kind=kind_of(tflite_name) or "custom",
        tflite_name=tflite_name,
        version=int(opcode.version),
        inputs=indices(operator.inputs),
        outputs=indices(operator.outputs),
        attributes=attributes,
        macs=0,
        parameter_bytes=0,
        input_bytes=0,
        output_bytes=0,
        is_custom=is_custom,
    )


def _with_sizes(op: Op, tensors: Sequence[Tensor], parameters: Collection[int]) -> Op:
    given = [tensors[index] for index in dict.fromkeys(op.inputs) if index >= 0]
    results = [tensors[index] for index in op.outputs if index >= 0]
    return replace(
        op,
        macs=macs(
            op.kind,
            [tensors[index] if index >= 0 else None for index in op.inputs],
            results,
            parameters,
        ),
        parameter_bytes=sum(t.size_bytes for t in given if t.index in parameters),
        input_bytes=sum(t.size_bytes for t in given if t.index not in parameters),
        output_bytes=sum(t.size_bytes for t in results),
    )


def _tensors(model: Any, subgraph: Any, data: bytes, ops: Sequence[Op]) -> tuple[Tensor, ...]:
    raw = subgraph.tensors or []
    sizes = [len(tensor_view(data, model, tensor)) for tensor in raw]
    inputs = set(indices(subgraph.inputs))
    produced = {tensor for op in ops for tensor in op.outputs}
    # A tensor that nothing fills is an empty one, or one whose value is never looked at.
    constants = frozenset(
        index
        for index, tensor in enumerate(raw)
        if not tensor.isVariable
        and (sizes[index] or (index not in produced and index not in inputs))
    )
    shapes = [RawTensor(indices(t.shape), indices(t.shapeSignature), bool(t.hasRank)) for t in raw]
    dynamic = dynamic_tensors(shapes, ops, constants)
    return tuple(
        _tensor(
            index,
            raw[index],
            shapes[index].shape,
            stored_bytes=sizes[index],
            is_constant=index in constants,
            is_dynamic=index in dynamic,
        )
        for index in range(len(raw))
    )


def _tensor(
    index: int,
    raw: Any,
    shape: tuple[int, ...],
    *,
    stored_bytes: int,
    is_constant: bool,
    is_dynamic: bool,
) -> Tensor:
    if raw.type not in DTYPES:
        raise UnreadableError(
            f"tensor {index} has the unknown element type {raw.type}",
            "the model needs a newer ai-edge-litert",
        )
    dtype = DTYPES[raw.type][0]
    if len(shape) > _MAX_RANK:
        raise UnreadableError(f"tensor {index} has {len(shape)} dimensions, more than {_MAX_RANK}")
    size = size_bytes(dtype, shape)
    # A runtime multiplies the dimensions one by one, so a last one of 0 does not help it.
    if size_bytes(dtype, [max(n, 1) for n in shape]) > MAX_TENSOR_BYTES:
        raise UnreadableError(f"tensor {index} has the impossible shape {list(shape)}")
    if is_constant and stored_bytes and stored_bytes < size and raw.sparsity is None:
        raise UnreadableError(
            f"tensor {index} has {stored_bytes} bytes, but its shape {list(shape)} of {dtype} "
            f"needs {size}"
        )
    if raw.sparsity is not None:
        check_sparsity(index, raw.sparsity, shape, stored_bytes, dtype)
    return Tensor(
        index=index,
        name=text(raw.name),
        shape=shape,
        dtype=dtype,
        quantization=_quantization(index, raw.quantization, shape, dtype),
        is_constant=is_constant,
        is_variable=bool(raw.isVariable),
        size_bytes=size,
        is_dynamic=is_dynamic,
    )


def _quantization(index: int, raw: Any, shape: tuple[int, ...], dtype: str) -> Quantization | None:
    if raw is None or raw.scale is None or not len(raw.scale):
        return None
    scales = tuple(float(scale) for scale in raw.scale.tolist())
    zero_points = indices(raw.zeroPoint) or (0,) * len(scales)
    if len(zero_points) != len(scales):
        raise UnreadableError(
            f"tensor {index} has {len(scales)} scales and {len(zero_points)} zero points"
        )
    axis = int(raw.quantizedDimension)
    if len(scales) > 1 and not 0 <= axis < max(len(shape), 1):
        raise UnreadableError(f"tensor {index} is quantised along dimension {axis} of {len(shape)}")
    quantization = Quantization(scales, zero_points, axis)
    check_quantization(index, quantization, shape, dtype)
    return quantization


def _whole_reason(
    ops: Sequence[Op], tensors: Sequence[Tensor], inputs: Sequence[int], outputs: Sequence[int]
) -> str:
    """Why operators cannot be run apart from each other, or an empty string."""
    state: dict[int, Op] = {}
    for op in ops:
        if _subgraphs(op):
            return f"operator {op.label} runs another subgraph of the model"
        for index in dict.fromkeys((*op.inputs, *op.outputs)):
            if index < 0:
                continue
            if tensors[index].dtype in ("resource", "variant"):
                return f"operator {op.label} uses a resource that operators share"
            if tensors[index].is_variable and state.setdefault(index, op) is not op:
                return f"operators {state[index].label} and {op.label} share a state tensor"
    for role, border in (("input", inputs), ("output", outputs)):
        if any(tensors[index].is_variable for index in border):
            return f"an {role} of the model is a state tensor"
    return ""


def _called(ops: Sequence[Op]) -> set[int]:
    """Numbers of the subgraphs that operators run."""
    return {number for op in ops for number in _subgraphs(op)}


def _subgraphs(op: Op) -> tuple[int, ...]:
    """Numbers of the subgraphs that an operator runs."""
    found: list[int] = []
    for name, value in op.attributes.items():
        if "subgraph" in name or name == "called_computations":
            numbers = value if isinstance(value, tuple) else (value,)
            found += [int(number) for number in numbers if number != -1]
    return tuple(found)


def _constant_ops(
    ops: Sequence[Op], tensors: Sequence[Tensor], outputs: Sequence[int]
) -> frozenset[int]:
    held = {tensor.index for tensor in tensors if tensor.is_constant}
    asked = set(outputs)
    found = set()
    for op in ops:
        given = [index for index in op.inputs if index >= 0]
        if (
            given
            and all(index in held for index in given)
            and not op.is_custom
            and op.kind not in _RANDOM_KINDS
            # Somebody has to produce an output of the model, so that operator is placed.
            and not any(index in asked for index in op.outputs)
        ):
            found.add(op.index)
            held.update(op.outputs)
    return frozenset(found)


def _signature_entries(model: Any, side: str) -> Sequence[Any]:
    """Entries of the one signature of subgraph 0, or none if there is not exactly one."""
    signatures = [s for s in model.signatureDefs or [] if s.subgraphIndex == 0]
    return (getattr(signatures[0], side) or []) if len(signatures) == 1 else []


def _names(
    indices_: Sequence[int], tensors: Sequence[Tensor], entries: Sequence[Any], role: str
) -> tuple[str, ...]:
    """One name for each tensor: the signature's, or else the tensor's, made unique."""
    by_tensor: dict[int, list[str]] = {}
    for entry in entries:
        by_tensor.setdefault(int(entry.tensorIndex), []).append(text(entry.name))
    names: dict[str, None] = {}
    numbers: dict[str, int] = {}
    for position, index in enumerate(indices_):
        choices = by_tensor.get(index, [])
        base = (choices.pop(0) if choices else tensors[index].name) or f"{role}_{position}"
        name, number = base, numbers.get(base, 2)
        while name in names:
            name, number = f"{base}_{number}", number + 1
        numbers[base] = number
        names[name] = None
    return tuple(names)
