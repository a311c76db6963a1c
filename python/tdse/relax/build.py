"""Compile a partitioned module into one runtime module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tvm
from tvm import relax

from tdse.assemble import assemble
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.partitioning import is_partitioned, placement_of
from tdse.targets.llvm_inline import tensor_type
from tdse.targets.llvm_isa import isa_of_device

from . import attributes
from .bodies import Bodies
from .calls import given_attributes, names_of, variables_of
from .regions import demand_unchanged


def build(module: tvm.IRModule) -> tvm.runtime.Module:
    """Compile the regions of a partitioned module and join them.

    Regions of ``litert`` are cut out of the model that the module carries; those of other targets
    are compiled from the bodies in the module, except operators for which the target has kernels of
    its own. Other passes may rewrite bodies of operators before, but not what ``main`` and the
    regions compute from them.

    Before, the ``main`` that ``Partition`` makes::

        @R.function
        def main(x: R.Tensor((1, 3), dtype="float32")) -> R.Tensor((1, 4), dtype="float32"):
            cls = Module
            with R.dataflow():
                t5: R.Tensor((1, 4), dtype="float32") = cls.region0_litert(x)
                t6: R.Tensor((1, 4), dtype="float32") = cls.region1_llvm(t5)
                R.output(t6)
            return t6

    After, the ``main`` of the executable; ``tdse_main`` is the executor's::

        @R.function
        def main(x: R.Tensor((1, 3), dtype="float32")) -> R.Tensor((1, 4), dtype="float32"):
            gv = R.call_dps_packed(
                "tdse_main", (x,), out_ty=R.Tensor((1, 4), dtype="float32")
            )
            return gv

    Args:
        module: as ``Partition`` returns it.

    Returns:
        The runtime module of a Relax executable, the executor with all regions imported into it.
        It can be exported, and run by ``relax.VirtualMachine``; after ``load_module`` in a
        process where tdse is installed as well. What ``Partition`` made for another machine is
        exported with a compiler that links for that one.

    Raises:
        TdseError: the module is not partitioned, was not made by tdse, or a pass has changed what
            its calls compute.
        TargetError: a region cannot be compiled.
    """
    processor = attributes.processor_of(module)
    target = "llvm" if processor is None else isa_of_device(processor).target
    return tvm.compile(linked(module), target=target).mod


def linked(module: tvm.IRModule) -> tvm.IRModule:
    """The module with a ``main`` that is one call into the executor, which comes with it.

    The IR after is shown with ``build``. ``main`` keeps its parameters, attributes and type; the
    executor, with the compiled regions, is in the attribute ``external_mods``, where TVM's build
    looks for what to link.

    Raises:
        TdseError, TargetError: as ``build``.
    """
    graph = attributes.graph_of(module)
    if not is_partitioned(module):
        raise TdseError(
            "the IRModule is not partitioned",
            where=graph.name,
            why=f"it has no attribute {attributes.PLACEMENT}",
            hint="run tdse.relax.Partition() on it first",
        )
    placement = placement_of(module)
    executor = assemble(
        graph,
        placement.graph_regions,
        threads=placement.threads,
        bodies=Bodies(module, demand_unchanged(module, graph)),
        expected_us=placement.predicted_us,
        processor=attributes.processor_of(module),
    )
    main, given = module["main"], given_attributes(module)
    kept = {name: given[name] for name in given if name not in attributes.OF_MODULE}
    external = [*kept.pop("external_mods", []), executor]
    called = _executor_call(main.params, main.ret_ty, given_attributes(main))
    return called.with_attrs({**kept, "external_mods": external})


def wrap_in_vm(executor: Any, graph: Graph) -> tvm.runtime.Module:
    """A runtime module for ``relax.VirtualMachine`` whose ``main`` is one call of ``executor``.

    Args:
        executor: a module of kind ``tdse_executor``.
        graph: gives inputs and outputs, their names, types and shapes.
    """
    parameters = list(variables_of(graph, graph.inputs, names_of(graph)).values())
    types = [tensor_type(graph, t) for t in graph.outputs]
    result = types[0] if len(types) == 1 else relax.TupleType(types)
    module = _executor_call(parameters, result, {}).with_attr("external_mods", [executor])
    return tvm.compile(module, target="llvm").mod


def _executor_call(
    parameters: Sequence[relax.Var], result: Any, given: dict[str, Any]
) -> tvm.IRModule:
    """A module whose ``main``, with attributes ``given``, calls ``tdse_main``.

    Args:
        parameters: of ``main``.
        result: type of what it returns, a tensor or a tuple of tensors.
        given: attributes of ``main``.
    """
    is_tuple = isinstance(result, relax.TupleType)
    types = list(result.fields) if is_tuple else [result]
    builder = relax.BlockBuilder()
    with builder.function("main", list(parameters), attrs=given):
        call = relax.call_dps_packed("tdse_main", relax.Tuple(list(parameters)), types)
        bound = builder.emit(call, "gv")
        is_one = is_tuple and len(types) == 1
        builder.emit_func_output(relax.Tuple([bound]) if is_one else bound)
    return builder.get()
