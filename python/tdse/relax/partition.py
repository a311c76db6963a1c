"""The pass that groups operators into regions, each for one target."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi

from tdse import errors
from tdse.errors import ModelError, TdseError, UsageError
from tdse.goals import PARETO
from tdse.graph.model import Graph
from tdse.place import Options, decide, given_here
from tdse.platform import load_platform
from tdse.search.placement import Placement

from . import attributes
from .calls import callee, read_main
from .lift import lift
from .region_functions import with_regions

_GivenPlacement = Placement | str | os.PathLike[str]


class _Transform:
    """What TVM runs. Errors are also kept in ``raised``, whole."""

    def __init__(
        self,
        options: Options,
        placement: _GivenPlacement | None,
        tflite_path: str | os.PathLike[str] | None,
        raised: list[TdseError],
    ) -> None:
        self._options = options
        self._tflite_path = tflite_path
        self._placement = placement
        self._raised = raised

    def transform_module(self, module: tvm.IRModule, context: Any) -> tvm.IRModule:
        try:
            return _partition(module, self._options, self._placement, self._tflite_path)
        except TdseError as error:
            self._raised.append(error)
            raise


_ModulePass: Any = tvm.transform.module_pass(_Transform, opt_level=0, name="tdse.Partition")


class Partition(_ModulePass):
    """Group the calls of operators in ``main`` into region functions, each for one target.

    Which operator goes where is measured and searched for, or taken from ``placement``. Only the
    calls in ``main`` and the attributes of the functions that it calls are looked at, never a
    body.

    Before::

        @R.function
        def main(x: R.Tensor((1, 3), dtype="float32")) -> R.Tensor((1, 4), dtype="float32"):
            cls = Module
            with R.dataflow():
                t1: R.Tensor((1, 3), dtype="float32") = cls.op0_relu(x)
                t5: R.Tensor((1, 4), dtype="float32") = cls.op1_svdf(t1)
                t6: R.Tensor((1, 4), dtype="float32") = cls.op2_relu(t5)
                R.output(t6)
            return t6

    After, with operator 2 placed on ``llvm`` and the others on ``litert``::

        @R.function
        def region0_litert(
            x: R.Tensor((1, 3), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "Codegen": "litert", "tdse.device": "cpu", "tdse.lanes": [0],
                "tdse.ops": [0, 1], "tdse.region": 0, "tdse.target": "litert",
                "tdse.threads": 1
            })
            cls = Module
            with R.dataflow():
                t1: R.Tensor((1, 3), dtype="float32") = cls.op0_relu(x)
                t5: R.Tensor((1, 4), dtype="float32") = cls.op1_svdf(t1)
                R.output(t5)
            return t5

        @R.function
        def region1_llvm(
            t5: R.Tensor((1, 4), dtype="float32")
        ) -> R.Tensor((1, 4), dtype="float32"):
            R.func_attr({
                "Codegen": "llvm", "tdse.device": "cpu", "tdse.lanes": [0],
                "tdse.ops": [2], "tdse.region": 1, "tdse.target": "llvm",
                "tdse.threads": 1
            })
            cls = Module
            with R.dataflow():
                t6: R.Tensor((1, 4), dtype="float32") = cls.op2_relu(t5)
                R.output(t6)
            return t6

        @R.function
        def main(x: R.Tensor((1, 3), dtype="float32")) -> R.Tensor((1, 4), dtype="float32"):
            cls = Module
            with R.dataflow():
                t5: R.Tensor((1, 4), dtype="float32") = cls.region0_litert(x)
                t6: R.Tensor((1, 4), dtype="float32") = cls.region1_llvm(t5)
                R.output(t6)
            return t6

    The functions of the operators stay as they are. The attributes of the module stay, and
    ``tdse.placement`` is added, the placement as JSON. The module still runs when it is compiled
    with ``tvm.compile``; ``build`` compiles each region for its target.

    Args:
        platform: ``host``, a preset, or a platform file.
        placement: take this one, this file's, or ``FRONT.json#NUMBER``, instead of searching.
        objective: what to make small: ``latency``, ``throughput``, ``energy`` or ``edp``.
        pins: ``OP=TARGET`` texts; OP is an index, a label or a kind.
        threads: threads of every region; None to try 1 up to the number of cores.
        budget_s: seconds for measuring operators and timing candidates.
        seed: of everything random.
        targets: use these only; names, or targets as TVM has them.
        tflite_path: see ``lift``.

    A module of another importer is lifted first. One that cannot be placed, because it has shapes
    that are not known or an operator that runs on no target, is left unchanged with a warning that
    gives the reasons. One that is partitioned already is left unchanged.

    Raises:
        UsageError: ``pins``, ``targets`` or ``threads`` are given beside ``placement``, or are
            wrong, or the objective is.
        TdseError: the module is not in normal form, or was changed since it was imported by
            ``from_tflite``; when the pass is run.
        PlatformError: the platform is not this machine, or has no power figures though the
            objective needs them; when the pass is run.
        PlacementError: a pin or the given placement cannot be obeyed; when the pass is run.
    """

    def __init__(
        self,
        platform: str = "host",
        *,
        placement: _GivenPlacement | None = None,
        objective: str = "latency",
        pins: Sequence[str] = (),
        threads: int | None = None,
        budget_s: float = 60.0,
        seed: int = 0,
        targets: Sequence[str | tvm.target.Target] | None = None,
        tflite_path: str | os.PathLike[str] | None = None,
    ) -> None:
        if placement is not None and (pins or targets or threads is not None):
            raise UsageError(
                "a placement leaves nothing to pin or to choose",
                hint="give placement, or pins, targets and threads",
            )
        if objective == PARETO:
            raise UsageError(
                "a pass gives one module, and no front",
                hint='make the front with tdse.compile, and give placement="front.json#NUMBER"',
            )
        raised: list[TdseError] = []
        names = tuple(map(_name_of, targets)) if targets else None
        options = Options(platform, names, threads, budget_s, tuple(pins), seed, objective)
        super().__init__(options, placement, tflite_path, raised)
        self._raised = raised

    def __call__(self, module: tvm.IRModule) -> tvm.IRModule:
        """Run the pass on ``module``."""
        self._raised.clear()
        try:
            return super().__call__(module)
        except TdseError:
            # On its way through TVM, an error keeps its class and text, but not its fields.
            if self._raised:
                raise self._raised[0] from None
            raise


def _partition(
    module: tvm.IRModule,
    options: Options,
    given: _GivenPlacement | None,
    tflite_path: str | os.PathLike[str] | None,
) -> tvm.IRModule:
    if attributes.is_partitioned(module):
        return module
    if attributes.attribute(module, attributes.MODEL) is None:
        try:
            return _with_placement(lift(module, tflite_path=tflite_path), options, given)
        except ModelError as error:
            # The rest of a script can still compile it, as it would have without tdse.
            warnings.warn(f"the IRModule stays as it is: {error}", stacklevel=2)
            return module
    return _with_placement(module, options, given)


def _with_placement(
    module: tvm.IRModule, options: Options, given: _GivenPlacement | None
) -> tvm.IRModule:
    graph = attributes.graph_of(module)
    owners = _call_positions(module, graph)
    placement = _placement(graph, options, given)
    members = [sorted({owners[op] for op in region.ops}) for region in placement.regions]
    return with_regions(module, placement, members)


def _name_of(target: str | tvm.target.Target) -> str:
    return target if isinstance(target, str) else str(target.kind.name)


def _call_positions(module: tvm.IRModule, graph: Graph) -> dict[int, int]:
    """The position of the call in ``main`` that computes each operator.

    Raises:
        TdseError: an operator is not computed by exactly one call.
    """
    found: dict[int, int] = {}
    hint = "run tdse.relax.Partition right after from_tflite"
    for position, call in enumerate(read_main(module).calls):
        name = call.function.name_hint
        ops = attributes.op_indices(callee(module, call, "main"))
        if not ops:
            raise TdseError(f"main calls {name}, which is no operator of the model", hint=hint)
        for op in ops:
            if op in found:
                raise TdseError(f"main calls {name}, whose operator it computes twice", hint=hint)
            found[op] = position
    for op in graph.placed_ops:
        if op not in found:
            raise TdseError(f"main does not call the function of {graph.ops[op].label}", hint=hint)
    return found


def _placement(graph: Graph, options: Options, given: _GivenPlacement | None) -> Placement:
    if given is None:
        return decide(graph, options).placement
    return given_here(graph, load_platform(options.platform), given).placement


def _register_errors() -> None:
    """Have TVM pass tdse's errors on as what they are, also out of a ``Sequential``."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, TdseError):
            tvm_ffi.register_error(f"tdse.errors.{kind.__name__}", kind)


_register_errors()
