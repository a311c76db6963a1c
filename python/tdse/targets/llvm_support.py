"""What decides whether TVM can compile an operator."""

from __future__ import annotations

import hashlib
import json

from tdse.graph.model import Graph, Quantization
from tdse.graph.unpack import constant_bytes

# Integer constants of at most so many elements are shapes, axes and paddings.
_MOST_VALUES = 64


def support_form(graph: Graph, op_index: int) -> str:
    """Hex digest that is equal for operators of which TVM can compile all or none.

    Coarser than a signature: of quantisation it holds which tensors have equal parameters, and
    not which ones.
    """
    op = graph.ops[op_index]
    tensors = [graph.tensors[t] if t >= 0 else None for t in (*op.inputs, *op.outputs)]
    seen: list[Quantization | None] = []
    described: list[object] = []
    for tensor in tensors:
        if tensor is None:
            described.append(None)
            continue
        if tensor.quantization not in seen:
            seen.append(tensor.quantization)
        source = graph.producer.get(tensor.index, -1)
        described.append(
            [
                tensor.dtype,
                tensor.shape,
                tensor.is_constant,
                tensor.is_variable,
                tensor.is_dynamic,
                graph.ops[source].kind if source in graph.constant_ops else "",
                seen.index(tensor.quantization),
                _granularity(tensor.quantization),
                _value(graph, tensor.index),
            ]
        )
    position = {t: i for i, t in reversed(list(enumerate((*op.inputs, *op.outputs))))}
    text = json.dumps(
        [
            op.tflite_name,
            op.is_custom,
            op.version,
            sorted(op.attributes.items()),
            [position[t] for t in (*op.inputs, *op.outputs)],
            len(op.inputs),
            described,
        ]
    )
    return hashlib.sha256(text.encode()).hexdigest()


def _granularity(quantization: Quantization | None) -> list[object]:
    if quantization is None:
        return []
    return [len(quantization.scales), quantization.axis, any(quantization.zero_points)]


def _value(graph: Graph, tensor: int) -> str:
    """The value of a small integer constant, which an importer may need to be known."""
    known = graph.tensors[tensor]
    if not known.is_constant or known.dtype not in ("int32", "int64") or not graph.data:
        return ""
    if known.quantization is not None:
        return ""
    value = bytes(constant_bytes(graph, tensor))
    return value.hex() if len(value) <= 8 * _MOST_VALUES else ""
