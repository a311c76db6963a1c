"""A Relay module with a function for each region that LiteRT runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relay

from tdse.assemble import compile_regions, no_op_computes
from tdse.emulation.executor import emulated_region
from tdse.errors import TargetError
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.partitioning import DEVICE, OPS, PLACEMENT, is_partitioned, placement_of
from tdse.search.placement import PlacedRegion, Placement
from tdse.targets.llvm_relay import host_target, import_slice
from tdse.targets.opencl_relay import demand_compiles, opencl_target

from .codegen import PLAN
from .placement import LLVM, OPENCL


def with_regions(module: Any, graph: Graph, placement: Placement, *, is_emulated: bool) -> Any:
    """The module after ``Partition``, which shows it before and after.

    Args:
        module: what Relay imports from the file of ``graph``.
        graph: the model.
        placement: on targets ``litert``, ``edgetpu``, ``llvm`` and ``opencl``.
        is_emulated: regions take ``predicted_us``, whatever LiteRT takes for them here.

    Raises:
        TargetError: a region cannot be imported by Relay, or run by LiteRT's C interface.
    """
    old = module["main"]
    made = tvm.IRModule(type_definitions=module.type_definitions)
    made = made.with_attrs(
        {**dict(module.attrs or {}), PLACEMENT: placement.model_dump_json(by_alias=True)}
    )
    for variable, function in module.functions.items():
        if variable.name_hint != "main":
            made[variable] = function
    # The others are weights, which the regions have as constants.
    index = {graph.tensors[t].name: t for t in graph.inputs}
    inputs = [p for p in old.params if str(p.name_hint) in index]
    values: dict[int, Any] = {index[str(p.name_hint)]: p for p in inputs}
    on_opencl: set[int] = set()
    for region in placement.regions:
        piece, function = import_slice(graph, region.ops)
        arguments = [values[t] for t in piece.inputs]
        if region.target == OPENCL:
            demand_compiles(graph, region.index, function)
            on_opencl.update(piece.outputs)
            arguments = [
                values[t] if t in on_opencl else _on(tvm.cpu(), values[t]) for t in piece.inputs
            ]
        if region.target in (LLVM, OPENCL):
            result = relay.bind(function.body, dict(zip(function.params, arguments, strict=True)))
            if region.target == OPENCL:
                result = _on(tvm.device(OPENCL), result)
        else:
            name = f"tdse_region{region.index}_{region.target}"
            plan = _plan(graph, region, placement.threads, is_emulated=is_emulated)
            variable = relay.GlobalVar(name)
            made[variable] = _external(function, region, name, plan)
            result = relay.Call(variable, arguments)
        if len(piece.outputs) == 1:
            values[piece.outputs[0]] = result
        else:
            for i, t in enumerate(piece.outputs):
                values[t] = relay.TupleGetItem(result, i)
    for t in graph.outputs:
        if t not in values:
            raise no_op_computes(graph, t)
    returned = [values[t] for t in graph.outputs]
    is_tuple = isinstance(old.body, relay.Tuple)
    main = relay.Function(inputs, relay.Tuple(returned) if is_tuple else returned[0])
    for name, value in dict(old.attrs or {}).items():
        main = main.with_attr(name, value)
    made["main"] = main
    return relay.transform.InferType()(made)


def build_target(module: Any) -> Any:
    """The ``target`` of ``relay.build`` for a module: this machine, and OpenCL where it has a part.

    Raises:
        TargetError: regions are for OpenCL, for which the installed TVM cannot compile.
    """
    regions = placement_of(module).regions if is_partitioned(module) else ()
    has_opencl = any(region.target == OPENCL for region in regions)
    return [host_target(), opencl_target()] if has_opencl else host_target()


def _on(device: Any, value: Any) -> Any:
    """The value computed on a device; TVM then adds copies where others read it."""
    if isinstance(value, relay.Tuple):
        return relay.Tuple([_on(device, field) for field in value.fields])
    return relay.op.annotation.on_device(value, device, constrain_result=False)


def _external(function: Any, region: PlacedRegion, name: str, plan: bytes) -> Any:
    """The function with what BYOC and tdse want to know of it."""
    one = tvm.tir.IntImm("int32", 1)
    given = {
        "Compiler": region.target,
        "Primitive": one,
        "Inline": one,
        "global_symbol": name,
        DEVICE: region.device,
        OPS: list(region.ops),
        PLAN: tvm.nd.array(np.frombuffer(plan, np.uint8)),
    }
    for key, value in given.items():
        function = function.with_attr(key, value)
    return function


def _plan(graph: Graph, region: PlacedRegion, threads: int, *, is_emulated: bool) -> bytes:
    """The plan of a region by itself.

    Raises:
        TargetError: LiteRT's C interface cannot run it.
    """
    if is_emulated:
        emulated = emulated_region(graph, region.ops, region.predicted_us or 0.0)
        plan, kind = emulated.plan, emulated.host_kinds[0]
    else:
        one = Region(region.index, "litert", region.ops)
        compiled = compile_regions(graph, [one], threads=threads)
        plan, kind = compiled.alone(0).plan, compiled.results[0].kind
    if kind != "litert":
        raise TargetError(
            f"region {region.index} cannot be part of a module of Relay",
            where=graph.name,
            why="LiteRT's C interface cannot run it",
            hint="pin its operators to llvm",
        )
    data: bytes = plan.to_bytes()
    return data
