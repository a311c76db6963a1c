"""Read the regions of a partitioned module, and check that it still computes the model.

Other passes may have run since ``Partition``. The plan of the executor is made from the model, so
calls that would compute anything else are refused. The bodies of operators are not looked at here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import tvm

from tdse.errors import TdseError
from tdse.graph.border import op_border
from tdse.graph.model import Graph
from tdse.graph.regions import Region

from . import attributes
from .calls import Call, Calls, Value, callee, read_calls, read_main

# Indices of tensors of the model.
_Tensors = tuple[int, ...]


@dataclass(frozen=True)
class ModuleRegions:
    """What ``build`` compiles.

    Attributes:
        regions: in the order in which ``main`` calls them; ``device`` is the target.
        threads: thread count of all of them.
        op_functions: functions of operators, by operator index.
    """

    regions: tuple[Region, ...]
    threads: int
    op_functions: dict[int, tvm.ir.GlobalVar]


def read_regions(module: tvm.IRModule, graph: Graph) -> ModuleRegions:
    """The regions that ``main`` calls.

    Args:
        module: as ``Partition`` returns it.
        graph: the model that the module was imported from.

    Raises:
        TdseError: the calls in ``main`` or in a region compute something else than the model, or
            an attribute of a region does not fit.
    """
    return _Reader(module, graph).read()


@dataclass
class _Reader:
    """Follows the tensors of the model through the calls."""

    module: tvm.IRModule
    graph: Graph
    regions: list[Region] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    op_functions: dict[int, tvm.ir.GlobalVar] = field(default_factory=dict)

    def read(self) -> ModuleRegions:
        main = read_main(self.module)
        outputs = self._follow(main, "main", self.graph.inputs, self._region)
        missing = [op for op in self.graph.placed_ops if op not in self.op_functions]
        if missing:
            raise self._changed(f"main does not compute op {self.graph.ops[missing[0]].label}")
        if outputs != self.graph.outputs:
            raise self._changed("main does not return the outputs of the model")
        if len(self.threads) > 1:
            counts = " and ".join(str(n) for n in sorted(self.threads))
            raise TdseError(
                f"regions have thread counts {counts}",
                where=self.graph.name,
                why="all regions of a module have the same",
                hint=f"give every region the same {attributes.THREADS}",
            )
        threads = self.threads.pop() if self.threads else 1
        return ModuleRegions(tuple(self.regions), threads, self.op_functions)

    def _region(self, call: Call, given: _Tensors) -> _Tensors:
        """The tensors that a region's function returns when it is given tensors ``given``."""
        name = call.function.name_hint
        function = callee(self.module, call, "main")
        if not attributes.is_region(function):
            raise self._changed(f"main calls {name}, which is no region")
        before = set(self.op_functions)
        calls = read_calls(function, name)
        returned = self._follow(calls, name, given, lambda op, of: self._op(op, name, of))
        ops = tuple(sorted(set(self.op_functions) - before))
        if ops != tuple(int(op) for op in self._attribute(function, attributes.OPS, name)):
            raise self._changed(f"{name} does not compute the operators in its {attributes.OPS}")
        target = str(self._attribute(function, attributes.TARGET, name))
        lanes = tuple(int(lane) for lane in self._attribute(function, attributes.LANES, name))
        self.regions.append(Region(len(self.regions), target, ops, lanes))
        self.threads.add(int(self._attribute(function, attributes.THREADS, name)))
        return returned

    def _op(self, call: Call, caller: str, given: _Tensors) -> _Tensors:
        """The tensors that an operator's function returns when it is given tensors ``given``."""
        name = call.function.name_hint
        ops = attributes.op_indices(callee(self.module, call, caller))
        if not ops:
            raise self._changed(f"{caller} calls {name}, which is no operator of the model")
        for op in ops:
            if op in self.op_functions:
                raise self._changed(f"{self.graph.ops[op].label} is computed twice")
            self.op_functions[op] = call.function
        if self.graph.whole_reason:
            inputs, outputs = self.graph.inputs, self.graph.outputs
        else:
            inputs, outputs = op_border(self.graph, ops)
        if given != inputs:
            raise self._changed(f"{caller} gives {name} other tensors than the model does")
        return outputs

    def _follow(
        self,
        calls: Calls,
        name: str,
        given: _Tensors,
        results_of: Callable[[Call, _Tensors], _Tensors],
    ) -> _Tensors:
        """The tensors that ``calls`` return when the function is given tensors ``given``."""
        tensors = self._bound(name, [Value(-1, i) for i in range(len(calls.parameters))], given)
        for position, call in enumerate(calls.calls):
            results = results_of(call, tuple(tensors[value] for value in call.arguments))
            made = [Value(position, i) for i in range(len(call.results))]
            tensors |= self._bound(call.function.name_hint, made, results)
        return tuple(tensors[value] for value in calls.returned)

    def _bound(self, name: str, values: Sequence[Value], tensors: _Tensors) -> dict[Value, int]:
        if len(values) != len(tensors):
            raise self._changed(f"{name} has {len(values)} tensors where it had {len(tensors)}")
        return dict(zip(values, tensors, strict=True))

    def _attribute(self, function: Any, attribute: str, name: str) -> Any:
        value = attributes.attribute(function, attribute)
        if value is None:
            raise self._changed(f"{name} has no attribute {attribute}")
        return value

    def _changed(self, why: str) -> TdseError:
        return TdseError(
            "the IRModule was changed since it was partitioned",
            where=self.graph.name,
            why=why,
            hint="build what tdse.relax.Partition gives",
        )
