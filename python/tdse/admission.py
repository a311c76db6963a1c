"""What is asked of a model that was read, before any library runs it."""

from __future__ import annotations

from tdse.errors import ModelError
from tdse.graph.model import Graph
from tdse.platform import discover_host
from tdse.targets.litert import demand_known_shapes

# Element types of the arrays that a caller can pass in and gets back.
_PASSED = frozenset(
    {
        "bool",
        *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
        *(f"float{bits}" for bits in (16, 32, 64)),
    }
)


def admit(graph: Graph, memory_bytes: int | None = None) -> None:
    """Refuse a model that could not be compiled whatever its operators do.

    Args:
        graph: the model.
        memory_bytes: what there is; by default what this process may use.

    Raises:
        ModelError: a shape is only known when the model runs, an input or output is no array or
            has a name that is no text, or its tensors do not fit into memory.
    """
    demand_known_shapes(graph)
    for role, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in (graph.tensors[index] for index in indices):
            if tensor.dtype not in _PASSED:
                raise ModelError(
                    f"the model has an {role} that is no array of numbers",
                    where=graph.name,
                    why=f"tensor {tensor.name!r} is of type {tensor.dtype}",
                    hint=f"convert the model without this {role}",
                )
            if "\N{REPLACEMENT CHARACTER}" in tensor.name:
                raise ModelError(
                    f"the name of an {role} of the model is no text",
                    where=graph.name,
                    why=f"{tensor.name!r} was not stored in UTF-8",
                    hint=f"convert the model with another name for the {role}",
                )
    memory_bytes = memory_bytes or discover_host().devices[0].memory_bytes
    if memory_bytes is not None:
        _demand_memory(graph, memory_bytes)


def _demand_memory(graph: Graph, memory_bytes: int) -> None:
    """Refuse a model whose tensors cannot be held: a file of a few bytes can ask for any number.

    The results of all operators are held at once when operators are measured. A model that is
    not cut needs those of one operator at a time.
    """
    sizes = {
        graph.ops[index].label: graph.ops[index].input_bytes + graph.ops[index].output_bytes
        for index in graph.placed_ops
    }
    if graph.whole_reason:
        held = max(sizes.values(), default=0)
    else:
        held = sum(graph.ops[index].output_bytes for index in graph.placed_ops)
        held += sum(graph.tensors[index].size_bytes for index in dict.fromkeys(graph.inputs))
    needed = held + len(graph.data)
    if needed <= memory_bytes:
        return
    largest = max(sizes, key=lambda label: sizes[label]) if sizes else ""
    raise ModelError(
        "the model does not fit into memory",
        where=graph.name,
        why=f"its tensors take {needed / 2**30:.1f} GiB, most of them at op {largest}, and "
        f"{memory_bytes / 2**30:.1f} GiB may be used",
        hint="use a machine with more memory, or convert the model for smaller inputs",
    )
