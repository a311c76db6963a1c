"""Functions that only call other functions of their module, as data flow."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import tvm
from tvm import relax

from tdse.graph.model import Graph
from tdse.targets.llvm_inline import tensor_type

from .names import Names

# Whatever stands for a tensor: its index in a graph, or a variable of another function.
T = TypeVar("T", bound=Hashable)


@dataclass(frozen=True)
class Step(Generic[T]):
    """A call: of which function, on what, and what it makes; several are the fields of a tuple."""

    function: tvm.ir.GlobalVar
    inputs: tuple[T, ...]
    outputs: tuple[T, ...]


def function_of(
    name: str,
    parameters: Mapping[T, relax.Var],
    steps: Sequence[Step[T]],
    returned: Sequence[T],
    *,
    name_of: Callable[[T], str],
    is_tuple: bool,
    given: Mapping[str, Any],
) -> relax.Function:
    """A function of calls.

    Args:
        name: of the function.
        parameters: by what they stand for.
        steps: in an order in which they can run.
        returned: what it returns.
        name_of: for the variables of what is made.
        is_tuple: it returns a tuple.
        given: its attributes.
    """
    # A builder for each function, because one does not give out a variable's name twice.
    builder = relax.BlockBuilder()
    values: dict[T, Any] = dict(parameters)
    with builder.function(name, list(parameters.values()), attrs=dict(given)):
        with builder.dataflow():
            for step in steps:
                parts: list[Any] = [relax.Call(step.function, [values[t] for t in step.inputs])]
                if len(step.outputs) > 1:
                    bound = builder.emit(parts[0])
                    parts = [relax.TupleGetItem(bound, i) for i in range(len(step.outputs))]
                for made, part in zip(step.outputs, parts, strict=True):
                    emit = builder.emit_output if made in returned else builder.emit
                    values[made] = emit(part, name_of(made))
        results = [values[t] for t in returned]
        builder.emit_func_output(relax.Tuple(results) if is_tuple else results[0])
    return builder.get()[name]


def bare(function: relax.Function) -> relax.Function:
    """The function without attributes."""
    return relax.Function(function.params, function.body, function.ret_ty)


def given_attributes(owner: Any) -> dict[str, Any]:
    """The attributes of a module or function."""
    return dict(owner.attrs) if owner.attrs is not None else {}


def names_of(graph: Graph) -> dict[int, str]:
    """What the variable of each tensor of the graph is called, so that IR can be read back."""
    called = dict(zip(graph.inputs, graph.input_names, strict=True))
    for tensor in graph.tensors:
        called.setdefault(tensor.index, tensor.name if graph.ir else f"t{tensor.index}")
    names = Names()
    return {index: names.unique(name) for index, name in called.items()}


def variables_of(
    graph: Graph, tensors: Sequence[int], names: Mapping[int, str]
) -> dict[int, relax.Var]:
    """A variable for each of some tensors."""
    return {t: relax.Var(names[t], tensor_type(graph, t)) for t in tensors}
