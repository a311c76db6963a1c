"""The pass that groups operators into regions, each for one target."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import tvm
import tvm_ffi

from tdse import errors
from tdse.errors import TdseError
from tdse.partitioning import (
    Asked,
    GivenPlacement,
    Transform,
    WholeErrors,
    is_partitioned,
    names_of,
)
from tdse.place import Options

from . import attributes
from .lift import lift
from .regions import with_regions

_ModulePass: Any = tvm.transform.module_pass(Transform, opt_level=0, name="tdse.Partition")


class Partition(WholeErrors, _ModulePass):
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
    ``tdse.placement`` is added, the placement as JSON; for a platform that is not this machine also
    ``tdse.processor``, which ``build`` then compiles for, to be exported with a compiler that links
    for it. The module still runs when it is compiled
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
        PlatformError: the platform can neither be measured nor be compiled for here, or has no
            power figures though the objective needs them; when the pass is run.
        PlacementError: a pin or the given placement cannot be obeyed; when the pass is run.
    """

    def __init__(
        self,
        platform: str = "host",
        *,
        placement: GivenPlacement | None = None,
        objective: str = "latency",
        pins: Sequence[str] = (),
        threads: int | None = None,
        budget_s: float = 60.0,
        seed: int = 0,
        targets: Sequence[str | tvm.target.Target] | None = None,
        tflite_path: str | os.PathLike[str] | None = None,
    ) -> None:
        options = Options(
            platform, names_of(targets), threads, budget_s, tuple(pins), seed, objective
        )
        asked = Asked(options, placement)
        super().__init__(lambda module: _partition(module, asked, tflite_path))


def _partition(
    module: tvm.IRModule, asked: Asked, tflite_path: str | os.PathLike[str] | None
) -> tvm.IRModule:
    if is_partitioned(module):
        return module
    lifted = lift(module, tflite_path=tflite_path)
    return with_regions(lifted, *asked.placement_anywhere(attributes.graph_of(lifted)))


def _register_errors() -> None:
    """Have TVM pass tdse's errors on as what they are, also out of a ``Sequential``."""
    for kind in vars(errors).values():
        if isinstance(kind, type) and issubclass(kind, TdseError):
            tvm_ffi.register_error(f"tdse.errors.{kind.__name__}", kind)


_register_errors()
