"""Move calls from ``main`` into functions of regions, and see later that they are still these.

Regions of ``litert`` are cut out of the model, and the plan of the executor is made from it. So a
module whose calls would compute anything else than the model is refused. The bodies of operators
are not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tvm
import tvm_ffi
from tvm import relax

from tdse.errors import TdseError
from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.partitioning import PLACEMENT, demand_main, is_partitioned, placement_of
from tdse.platform import Device
from tdse.search.placement import Placement
from tdse.targets.llvm_inline import tensor_type

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
    functions = _written(module, graph, placement, ops, builder.add_func)
    builder.add_func(functions["main"], "main")
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

    def known(function: relax.Function, name: str) -> tvm.ir.GlobalVar:
        if name not in module:
            raise _changed(module, graph, f"it has no function {name}")
        return module.get_global_var(name)

    parameters = module["main"].params
    if len(parameters) != len(graph.inputs):
        raise _changed(module, graph, f"main has not {len(graph.inputs)} parameters any more")
    for parameter, tensor in zip(parameters, graph.inputs, strict=True):
        is_so = relax.analysis.type_base_check(tensor_type(graph, tensor), parameter.ty)
        if is_so != relax.analysis.BaseCheckResult.PASS:
            raise _changed(module, graph, f"parameter {parameter.name} has type {parameter.ty}")
    placement = placement_of(module) if is_partitioned(module) else None
    for name, function in _written(module, graph, placement, ops, known).items():
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


def _written(
    module: tvm.IRModule,
    graph: Graph,
    placement: Placement | None,
    ops: Mapping[int, tvm.ir.GlobalVar],
    variable_of: Callable[[relax.Function, str], tvm.ir.GlobalVar],
) -> dict[str, relax.Function]:
    """The functions of a placement's regions and the ``main`` that calls them, by name.

    Args:
        module: gives the parameters, attributes and type of ``main``, which stay.
        graph: the model.
        placement: None for a ``main`` that calls the functions of operators.
        ops: these functions.
        variable_of: what a function of a region, and of a name, is called by.
    """
    names = names_of(graph)

    def op_steps(members: tuple[int, ...]) -> list[Step[int]]:
        # A model that is not cut has one function for all its operators.
        functions = dict.fromkeys(ops[op] for op in members)
        indices = {variable: attributes.op_indices(module[variable]) for variable in functions}
        return [Step(variable, *op_border(graph, of)) for variable, of in indices.items()]

    written: dict[str, relax.Function] = {}
    steps = []
    regions, threads = (placement.regions, placement.threads) if placement else ((), 0)
    for region in regions:
        name = f"region{region.index}_{identifier(region.target)}"
        inputs, outputs = op_border(graph, region.ops)
        written[name] = function_of(
            name,
            variables_of(graph, inputs, names),
            op_steps(region.ops),
            outputs,
            name_of=names.__getitem__,
            is_tuple=len(outputs) > 1,
            given={
                "global_symbol": name,
                attributes.CODEGEN: region.target,
                attributes.REGION: region.index,
                attributes.TARGET: region.target,
                attributes.DEVICE: region.device,
                attributes.THREADS: threads,
                attributes.LANES: list(region.lanes),
                attributes.OPS: list(region.ops),
            },
        )
        steps.append(Step(variable_of(written[name], name), inputs, outputs))
    old = module["main"]
    written["main"] = function_of(
        "main",
        dict(zip(graph.inputs, old.params, strict=True)),
        steps if placement else op_steps(graph.placed_ops),
        graph.outputs,
        name_of=names.__getitem__,
        is_tuple=isinstance(old.ret_ty, relax.TupleType),
        given=given_attributes(old),
    )
    return written
