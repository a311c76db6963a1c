"""What enters and leaves a set of operators."""

from __future__ import annotations

from .model import Graph


def op_border(graph: Graph, ops: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Tensors that enter and leave a set of operators, in the order of their slice.

    Args:
        graph: the model; it need not stem from a flatbuffer.
        ops: operator indices, ascending; all, if the model cannot be cut.
    """
    if graph.whole_reason:
        return graph.inputs, graph.outputs
    inside = set(ops)
    produced = [t for op in ops for t in graph.ops[op].outputs if t >= 0]
    inputs = {
        t: None
        for op in ops
        for t in graph.ops[op].inputs
        if t >= 0
        and graph.producer.get(t, -1) not in inside | graph.constant_ops
        and not graph.tensors[t].is_constant
        and not graph.tensors[t].is_variable
    }
    outputs = {t: None for t in graph.outputs if t in produced}
    for t in produced:
        if any(reader not in inside for reader in graph.consumers.get(t, ())):
            outputs[t] = None
    if not outputs:
        outputs = {t: None for t in produced if not graph.consumers.get(t)}
    return tuple(inputs), tuple(outputs)
