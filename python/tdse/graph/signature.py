"""A name for what an operator costs: the key under which measured times are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from .model import Graph, Quantization, Tensor
from .scales import has_far_scales
from .slice import custom_options
from .unpack import constant_bytes, indices, unpacked

# Constants that say what to do, such as shapes, axes and paddings, are part of the signature.
_MAX_VALUE_ELEMENTS = 64

_Described = list[object]


class _Numbers(NamedTuple):
    """Numbers by first appearance, which stand for tensors and for quantisations."""

    tensors: dict[int, int]
    quantizations: dict[Quantization, int]


def signature(graph: Graph, op: int) -> str:
    """Hex digest that is equal for operators which take the same time and have the same support.

    It covers kind, version, attributes, shapes, element types, how activations are quantised, and
    small integer constants; not the values of weights and scales, names, or tensor numbers. Which
    of the activations share one scale and zero point is part of it, as kernels differ by that, and
    so is whether scales are too far from each other for the usual kernels.
    """
    text = json.dumps(_describe_op(graph, op), separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def region_signature(graph: Graph, ops: Sequence[int]) -> str:
    """Hex digest of a region: of its operators in their order, and of what feeds what."""
    position = {op: i for i, op in enumerate(ops)}
    edges = sorted(
        (position[source], position[sink])
        for source, sink, _ in graph.edges
        if source in position and sink in position
    )
    text = json.dumps([[signature(graph, op) for op in ops], edges], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _describe_op(graph: Graph, index: int) -> _Described:
    op = graph.ops[index]
    # Which operands are one and the same tensor matters, what the model calls it does not.
    numbers = _Numbers({}, {})
    results = (*op.outputs, *_intermediates(graph, index))
    return [
        op.tflite_name,
        op.version,
        sorted(op.attributes.items()),
        hashlib.sha256(custom_options(graph, index)).hexdigest() if op.is_custom else "",
        [_describe_input(graph, tensor, numbers) for tensor in op.inputs],
        [_describe_tensor(graph, tensor, numbers) for tensor in results],
        *(["far scales"] if has_far_scales(graph, op) else []),
    ]


def _intermediates(graph: Graph, index: int) -> tuple[int, ...]:
    if not graph.data:
        return ()
    return tuple(indices(unpacked(graph).subgraphs[0].operators[index].intermediates))


def _describe_input(graph: Graph, index: int, numbers: _Numbers) -> _Described:
    source = graph.producer.get(index, -1)
    if source in graph.constant_ops:
        output = graph.ops[source].outputs.index(index)
        computed = [output, *_describe_op(graph, source)]
        return [*_describe_tensor(graph, index, numbers), computed]
    if index >= 0 and graph.tensors[index].is_constant:
        constant = _describe_constant(graph, graph.tensors[index])
        return [*_describe_form(graph, index, numbers), constant]
    return _describe_tensor(graph, index, numbers)


def _describe_tensor(graph: Graph, index: int, numbers: _Numbers) -> _Described:
    if index < 0:
        return []
    tensor = graph.tensors[index]
    form = _describe_form(graph, index, numbers)
    return [
        *form,
        tensor.is_variable,
        _describe_quantization(tensor.quantization, numbers.quantizations),
    ]


def _describe_form(graph: Graph, index: int, numbers: _Numbers) -> _Described:
    tensor = graph.tensors[index]
    number = numbers.tensors.setdefault(index, len(numbers.tensors))
    return [number, tensor.dtype, tensor.shape, tensor.is_dynamic]


def _describe_constant(graph: Graph, tensor: Tensor) -> _Described:
    raw = unpacked(graph).subgraphs[0].tensors[tensor.index]
    quantization = tensor.quantization
    if quantization is not None:
        # Kernels differ by granularity and by whether weights are symmetric, not by scale.
        zero_points = sorted(set(quantization.zero_points))
        form: _Described = [len(quantization.scales), quantization.axis, zero_points]
    else:
        form = []
    value = ""
    if quantization is None and tensor.dtype in ("int32", "int64"):
        stored = constant_bytes(graph, tensor.index)
        if tensor.size_bytes <= _MAX_VALUE_ELEMENTS * (8 if tensor.dtype == "int64" else 4):
            value = bytes(stored).hex()
    return [form, raw.sparsity is not None, value]


def _describe_quantization(
    quantization: Quantization | None, numbers: dict[Quantization, int]
) -> _Described:
    if quantization is None:
        return []
    number = numbers.setdefault(quantization, len(numbers))
    return [number, len(quantization.scales), quantization.axis]
