"""Move calls from ``main`` into functions of regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import tvm
from tvm import relax

from tdse.search.placement import Placement

from . import attributes
from .calls import Calls, Value, read_calls
from .names import identifier


def with_regions(
    module: tvm.IRModule, placement: Placement, calls_of_region: Sequence[Sequence[int]]
) -> tvm.IRModule:
    """The module with a function for each region, and a ``main`` that calls only these.

    The IR before and after is shown with ``Partition``.

    Args:
        module: ``main`` has only calls.
        placement: its regions are those to make, in an order in which they can run.
        calls_of_region: positions of the region's calls in ``main``, ascending, for each region.
    """
    old = module["main"]
    calls = read_calls(old, "main")
    rest = module.clone()
    del rest["main"]
    builder = relax.BlockBuilder(rest)
    functions = []
    borders = [_border(calls, members) for members in calls_of_region]
    for region, members, (inputs, outputs) in zip(
        placement.regions, calls_of_region, borders, strict=True
    ):
        name = f"region{region.index}_{identifier(region.target)}"
        given = {
            "global_symbol": name,
            attributes.CODEGEN: region.target,
            attributes.REGION: region.index,
            attributes.TARGET: region.target,
            attributes.DEVICE: region.device,
            attributes.THREADS: placement.threads,
            attributes.LANES: list(region.lanes),
            attributes.OPS: list(region.ops),
        }
        function = _region(calls, members, inputs, outputs, name, given)
        functions.append(builder.add_func(function, name))
    builder.add_func(_main(old, calls, functions, borders), "main")
    given = dict(module.attrs) if module.attrs is not None else {}
    given[attributes.PLACEMENT] = placement.model_dump_json(by_alias=True)
    return builder.get().with_attrs(given)


def _border(calls: Calls, members: Sequence[int]) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
    """Values that enter a set of calls, in the order of first use, and that leave it."""
    inside = set(members)
    inputs = {
        value: None
        for position in members
        for value in calls.calls[position].arguments
        if value.call not in inside
    }
    needed = set(calls.returned)
    used = set(calls.returned)
    for position, call in enumerate(calls.calls):
        used.update(call.arguments)
        if position not in inside:
            needed.update(call.arguments)
    made = [Value(p, i) for p in members for i in range(len(calls.calls[p].results))]
    # What nothing needs is still returned if there is nothing else: a function returns something.
    outputs = [value for value in made if value in needed] or [v for v in made if v not in used]
    return tuple(inputs), tuple(outputs)


def _region(
    calls: Calls,
    members: Sequence[int],
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    name: str,
    given: Mapping[str, Any],
) -> relax.Function:
    # A builder for each function, because one does not give out a variable's name twice.
    builder = relax.BlockBuilder()
    values: dict[Value, Any] = {v: relax.Var(_name(calls, v), _type(calls, v)) for v in inputs}
    with builder.function(name, list(values.values()), attrs=dict(given)):
        with builder.dataflow():
            for position in members:
                call = calls.calls[position]
                made = [Value(position, i) for i in range(len(call.results))]
                expression = relax.Call(call.function, [values[v] for v in call.arguments])
                _emit(builder, calls, expression, call.is_tuple, made, set(outputs), values)
        results = [values[v] for v in outputs]
        builder.emit_func_output(results[0] if len(results) == 1 else relax.Tuple(results))
    return builder.get()[name]


def _main(
    old: relax.Function,
    calls: Calls,
    functions: Sequence[tvm.ir.GlobalVar],
    borders: Sequence[tuple[Sequence[Value], Sequence[Value]]],
) -> relax.Function:
    builder = relax.BlockBuilder()
    values: dict[Value, Any] = {Value(-1, i): p for i, p in enumerate(calls.parameters)}
    given = dict(old.attrs) if old.attrs is not None else {}
    with builder.function("main", list(calls.parameters), attrs=given):
        with builder.dataflow():
            for function, (inputs, outputs) in zip(functions, borders, strict=True):
                expression = relax.Call(function, [values[v] for v in inputs])
                many = len(outputs) > 1
                _emit(builder, calls, expression, many, outputs, set(calls.returned), values)
        returned = [values[v] for v in calls.returned]
        builder.emit_func_output(relax.Tuple(returned) if calls.is_tuple else returned[0])
    return builder.get()["main"]


def _emit(
    builder: relax.BlockBuilder,
    calls: Calls,
    expression: relax.Call,
    is_tuple: bool,
    made: Sequence[Value],
    leaving: set[Value],
    values: dict[Value, Any],
) -> None:
    """Bind a call, and the elements of the tuple if it returns one, to variables."""
    bound = builder.emit(expression) if is_tuple else expression
    for i, value in enumerate(made):
        emit = builder.emit_output if value in leaving else builder.emit
        part = relax.TupleGetItem(bound, i) if is_tuple else bound
        values[value] = emit(part, _name(calls, value))


def _name(calls: Calls, value: Value) -> str:
    return calls.names.get(value, "lv")


def _type(calls: Calls, value: Value) -> Any:
    if value.call < 0:
        return calls.parameters[value.index].ty
    return calls.calls[value.call].results[value.index]
