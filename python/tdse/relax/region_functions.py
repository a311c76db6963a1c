"""Move calls from ``main`` into functions of regions."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax

from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.partitioning import PLACEMENT
from tdse.search.placement import PlacedRegion, Placement
from tdse.targets.llvm_inline import tensor_type

from . import attributes
from .calls import Step, function_of, given_attributes
from .names import identifier
from .read_regions import read_regions


def with_regions(module: tvm.IRModule, graph: Graph, placement: Placement) -> tvm.IRModule:
    """The module with a function for each region, and a ``main`` that calls only these.

    The IR before and after is shown with ``Partition``.

    Args:
        module: ``main`` calls the functions of operators.
        graph: the model.
        placement: its regions are those to make, in an order in which they can run.

    Raises:
        TdseError: the module does not compute the model.
    """
    found = read_regions(module, graph)
    old, rest = module["main"], module.clone()
    del rest["main"]
    builder = relax.BlockBuilder(rest)

    def name_of(tensor: int) -> str:
        return str(found.variables[tensor].name) if tensor in found.variables else "lv"

    def parameter(tensor: int) -> relax.Var:
        of = found.variables.get(tensor)
        return relax.Var(name_of(tensor), tensor_type(graph, tensor) if of is None else of.ty)

    steps = []
    for region in placement.regions:
        name = f"region{region.index}_{identifier(region.target)}"
        inputs, outputs = op_border(graph, region.ops)
        # A model that is not cut has one function for all its operators.
        calls = {
            found.op_functions[op]: attributes.op_indices(module[found.op_functions[op]])
            for op in region.ops
        }
        function = function_of(
            name,
            {tensor: parameter(tensor) for tensor in inputs},
            [Step(variable, *op_border(graph, ops)) for variable, ops in calls.items()],
            outputs,
            name_of=name_of,
            is_tuple=len(outputs) > 1,
            given=_attributes(name, region, placement.threads),
        )
        steps.append(Step(builder.add_func(function, name), inputs, outputs))
    main = function_of(
        "main",
        dict(zip(graph.inputs, old.params, strict=True)),
        steps,
        graph.outputs,
        name_of=name_of,
        is_tuple=isinstance(old.ret_ty, relax.TupleType),
        given=given_attributes(old),
    )
    builder.add_func(main, "main")
    given = {**given_attributes(module), PLACEMENT: placement.model_dump_json(by_alias=True)}
    return builder.get().with_attrs(given)


def _attributes(name: str, region: PlacedRegion, threads: int) -> dict[str, Any]:
    return {
        "global_symbol": name,
        attributes.CODEGEN: region.target,
        attributes.REGION: region.index,
        attributes.TARGET: region.target,
        attributes.DEVICE: region.device,
        attributes.THREADS: threads,
        attributes.LANES: list(region.lanes),
        attributes.OPS: list(region.ops),
    }
