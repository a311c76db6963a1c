"""Move calls from ``main`` into functions of regions, and see later that they are still these.

Regions of ``litert`` are cut out of the model, and the plan of the executor is made from it. So a
module whose calls would compute anything else than the model is refused. The bodies of operators
are not looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from tdse.errors import TdseError
from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.partitioning import PLACEMENT, demand_main, is_partitioned, placement_of
from tdse.platform import Device
from tdse.search.placement import PlacedRegion, Placement

from . import attributes
from .calls import Step, bare, function_of, given_attributes, names_of, variables_of
from .names import identifier

# Passes of TVM's own write the same calls so, or so.
_PLAIN = tvm.transform.Sequential(
    [relax.transform.ToNonDataflow(), relax.transform.CanonicalizeBindings()]
)


def with_regions(
    module: tvm.IRModule, placement: Placement, processor: Device | None = None
) -> tvm.IRModule:
    """The module with a function for each region, and a ``main`` that calls only these.

    The IR before and after is shown with ``Partition``.

    Args:
        module: by ``lift`` or ``from_tflite``.
        placement: of its graph; taken as it is, for any platform. Its regions are in an order in
            which they can run.
        processor: a platform's device to compile for; None for this machine's.

    Raises:
        TdseError: the module was changed since it was imported.
    """
    graph = attributes.graph_of(module)
    ops = demand_unchanged(module, graph)
    rest = module.clone()
    del rest["main"]
    builder = relax.BlockBuilder(rest)
    functions = {
        name: builder.add_func(function, name)
        for name, function in _region_functions(module, graph, placement, ops).items()
    }
    builder.add_func(_main(module, graph, _region_steps(graph, placement, functions)), "main")
    given = {**given_attributes(module), PLACEMENT: placement.model_dump_json(by_alias=True)}
    if processor is not None:
        given[attributes.PROCESSOR] = processor.model_dump_json()
    return builder.get().with_attrs(given)


def demand_unchanged(module: tvm.IRModule, graph: Graph) -> dict[int, tvm.ir.GlobalVar]:
    """The functions of operators, by operator index.

    Args:
        module: as ``from_tflite``, ``lift`` or ``Partition`` gave it, and other passes since.
        graph: the model that the module was imported from.

    Raises:
        TdseError: the calls in ``main`` or in a region's function are not those that tdse made, or
            an attribute of a region is not.
    """
    demand_main(module)
    ops = {
        op: variable
        for variable, function in module.functions_items()
        for op in attributes.op_indices(function)
    }
    for op in graph.placed_ops:
        if op not in ops:
            raise _changed(module, graph, f"it has no function for op {graph.ops[op].label}")
    expected: dict[str, relax.Function] = {}
    if is_partitioned(module):
        placement = placement_of(module)
        expected = _region_functions(module, graph, placement, ops)
        for name in expected:
            if name not in module:
                raise _changed(module, graph, f"it has no function {name}")
        variables = {name: module.get_global_var(name) for name in expected}
        steps = _region_steps(graph, placement, variables)
    else:
        steps = _op_steps(graph, graph.placed_ops, module, ops)
    for name, function in {**expected, "main": _main(module, graph, steps)}.items():
        if not tvm_ffi.structural_equal(_plain(module[name]), _plain(function), map_free_vars=True):
            raise _changed(module, graph, f"{name} does not make the calls that it did")
        for key, value in given_attributes(function).items():
            if not tvm_ffi.structural_equal(attributes.attribute(module[name], key), value):
                raise _changed(module, graph, f"{name} has another attribute {key}")
    return ops


def _plain(function: Any) -> Any:
    return _PLAIN(tvm.IRModule({"calls": bare(function)}))["calls"]


def _changed(module: tvm.IRModule, graph: Graph, why: str) -> TdseError:
    is_done = is_partitioned(module)
    return TdseError(
        f"the IRModule was changed since it was {'partitioned' if is_done else 'imported'}",
        where=graph.name,
        why=why,
        hint="build what tdse.relax.Partition gives"
        if is_done
        else "run tdse.relax.Partition right after from_tflite",
    )


def _op_steps(
    graph: Graph,
    members: tuple[int, ...],
    module: tvm.IRModule,
    ops: Mapping[int, tvm.ir.GlobalVar],
) -> list[Step[int]]:
    # A model that is not cut has one function for all its operators.
    functions = dict.fromkeys(ops[op] for op in members)
    return [
        Step(variable, *op_border(graph, attributes.op_indices(module[variable])))
        for variable in functions
    ]


def _region_steps(
    graph: Graph, placement: Placement, functions: Mapping[str, tvm.ir.GlobalVar]
) -> list[Step[int]]:
    return [
        Step(functions[_name_of(region)], *op_border(graph, region.ops))
        for region in placement.regions
    ]


def _region_functions(
    module: tvm.IRModule,
    graph: Graph,
    placement: Placement,
    ops: Mapping[int, tvm.ir.GlobalVar],
) -> dict[str, relax.Function]:
    names = names_of(graph)
    functions = {}
    for region in placement.regions:
        name = _name_of(region)
        inputs, outputs = op_border(graph, region.ops)
        functions[name] = function_of(
            name,
            variables_of(graph, inputs, names),
            _op_steps(graph, region.ops, module, ops),
            outputs,
            name_of=names.__getitem__,
            is_tuple=len(outputs) > 1,
            given={
                "global_symbol": name,
                attributes.CODEGEN: region.target,
                attributes.REGION: region.index,
                attributes.TARGET: region.target,
                attributes.DEVICE: region.device,
                attributes.THREADS: placement.threads,
                attributes.LANES: list(region.lanes),
                attributes.OPS: list(region.ops),
            },
        )
    return functions


def _name_of(region: PlacedRegion) -> str:
    return f"region{region.index}_{identifier(region.target)}"


def _main(module: tvm.IRModule, graph: Graph, steps: list[Step[int]]) -> relax.Function:
    """``main`` with other calls; its parameters, attributes and type stay."""
    old = module["main"]
    return function_of(
        "main",
        dict(zip(graph.inputs, old.params, strict=True)),
        steps,
        graph.outputs,
        name_of=names_of(graph).__getitem__,
        is_tuple=isinstance(old.ret_ty, relax.TupleType),
        given=given_attributes(old),
    )
