"""Read a module of tdse, and check that its calls still compute the model.

Other passes may have run since it was made. Regions are formed, and the plan of the executor is
made, from the model, so calls that would compute anything else are refused. The bodies of operators
are not looked at here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import tvm
from tvm import relax

from tdse.errors import TdseError
from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.graph.regions import Region
from tdse.partitioning import attribute, demand_main, is_partitioned

from . import attributes
from .calls import callee, follow

# Indices of tensors of the model.
_Tensors = tuple[int, ...]


@dataclass
class ModuleRegions:
    """What a module computes.

    Attributes:
        regions: in the order in which ``main`` calls them; ``device`` is the target. None if the
            module is not partitioned.
        threads: thread counts of the regions.
        op_functions: functions of operators, by operator index.
        variables: by index of the tensor, those that ``main`` or a region binds it to.
    """

    regions: list[Region] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    op_functions: dict[int, tvm.ir.GlobalVar] = field(default_factory=dict)
    variables: dict[int, relax.Var] = field(default_factory=dict)


def read_regions(module: tvm.IRModule, graph: Graph) -> ModuleRegions:
    """What ``main`` calls: operators, or the regions that call them.

    Args:
        module: as ``from_tflite``, ``lift`` or ``Partition`` returns it.
        graph: the model that the module was imported from.

    Raises:
        TdseError: the calls in ``main`` or in a region compute something else than the model, or
            an attribute of a region does not fit.
    """
    demand_main(module)
    return _Reader(module, graph).read()


@dataclass
class _Reader:
    """Follows the tensors of the model through the calls."""

    module: tvm.IRModule
    graph: Graph
    found: ModuleRegions = field(default_factory=ModuleRegions)

    def read(self) -> ModuleRegions:
        compute = self._region if is_partitioned(self.module) else self._op
        outputs = self._follow("main", self.module["main"], self.graph.inputs, compute)
        missing = [op for op in self.graph.placed_ops if op not in self.found.op_functions]
        if missing:
            raise self._changed(f"main does not compute op {self.graph.ops[missing[0]].label}")
        if outputs != self.graph.outputs:
            raise self._changed("main does not return the outputs of the model")
        if len(self.found.threads) > 1:
            counts = " and ".join(str(n) for n in sorted(self.found.threads))
            raise TdseError(
                f"regions have thread counts {counts}",
                where=self.graph.name,
                why="all regions of a module have the same",
                hint=f"give every region the same {attributes.THREADS}",
            )
        return self.found

    def _follow(self, name: str, function: Any, given: _Tensors, compute: Any) -> _Tensors:
        return follow(function, name, given, lambda c, g: compute(c, name, g), self.found.variables)

    def _region(self, call: relax.Call, caller: str, given: _Tensors) -> _Tensors:
        """The tensors that a region's function returns when it is given tensors ``given``."""
        name = call.op.name_hint
        function = callee(self.module, call, caller)
        if not attributes.is_region(function):
            raise self._changed(f"main calls {name}, which is no region")
        before = set(self.found.op_functions)
        returned = self._follow(name, function, given, self._op)
        ops = tuple(sorted(set(self.found.op_functions) - before))
        if ops != tuple(int(op) for op in self._attribute(function, attributes.OPS, name)):
            raise self._changed(f"{name} does not compute the operators in its {attributes.OPS}")
        target = str(self._attribute(function, attributes.TARGET, name))
        lanes = tuple(int(lane) for lane in self._attribute(function, attributes.LANES, name))
        self.found.regions.append(Region(len(self.found.regions), target, ops, lanes))
        self.found.threads.add(int(self._attribute(function, attributes.THREADS, name)))
        return returned

    def _op(self, call: relax.Call, caller: str, given: _Tensors) -> _Tensors:
        """The tensors that an operator's function returns when it is given tensors ``given``."""
        name = call.op.name_hint
        ops = attributes.op_indices(callee(self.module, call, caller))
        if not ops:
            raise self._changed(f"{caller} calls {name}, which is no operator of the model")
        for op in ops:
            if op in self.found.op_functions:
                raise self._changed(f"{self.graph.ops[op].label} is computed twice")
            self.found.op_functions[op] = call.op
        inputs, outputs = op_border(self.graph, ops)
        if given != inputs:
            raise self._changed(f"{caller} gives {name} other tensors than the model does")
        return outputs

    def _attribute(self, function: Any, name: str, of: str) -> Any:
        value = attribute(function, name)
        if value is None:
            raise self._changed(f"{of} has no attribute {name}")
        return value

    def _changed(self, why: str) -> TdseError:
        is_done = is_partitioned(self.module)
        return TdseError(
            f"the IRModule was changed since it was {'partitioned' if is_done else 'imported'}",
            where=self.graph.name,
            why=why,
            hint="build what tdse.relax.Partition gives"
            if is_done
            else "run tdse.relax.Partition right after from_tflite",
        )
