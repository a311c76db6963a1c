"""The pass that makes regions of a Relay module, and the function that runs it once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tvm

from tdse.graph.reader import read_tflite
from tdse.partitioning import (
    Asked,
    GivenPlacement,
    Transform,
    WholeErrors,
    demand_file,
    is_partitioned,
    names_of,
)
from tdse.place import Options
from tdse.platform import load_platform

from .origin import demand_origin
from .placement import place
from .regions import with_regions

_ModulePass: Any = tvm.transform.module_pass(Transform, opt_level=0, name="tdse.Partition")


class Partition(WholeErrors, _ModulePass):
    """Move what LiteRT runs best into region functions; leave the rest of ``main`` to TVM.

    Before, the ``main`` that ``relay.frontend.from_tflite`` makes, here of two operators::

        fn (%x: Tensor[(1, 4), float32], %v_param_1: Tensor[(3, 4), float32],
            %v_param_2: Tensor[(3), float32], output_tensor_names=["softmax"]) {
          %0 = reshape(%x, newshape=[-1, 4]);
          %1 = nn.dense(%0, %v_param_1, units=3);
          %2 = nn.bias_add(%1, %v_param_2);
          %3 = nn.relu(%2);
          nn.softmax(%3)
        }

    After, with the dense layer placed on ``litert`` and the softmax on ``llvm``::

        def @main(%x: Tensor[(1, 4), float32],
                  output_tensor_names=["softmax"]) -> Tensor[(1, 3), float32] {
          %0 = @tdse_region0_litert(%x);
          nn.softmax(%0)
        }

        def @tdse_region0_litert(%x1: Tensor[(1, 4), float32], Compiler="litert", Primitive=1,
                                 Inline=1, tdse.device="cpu", tdse.ops=[0],
                                 tdse.plan=meta[runtime.NDArray][0],
                                 global_symbol="tdse_region0_litert") -> Tensor[(1, 3), float32] {
          %1 = reshape(%x1, newshape=[-1, 4]);
          %2 = nn.dense(%1, meta[relay.Constant][0], units=3);
          %3 = nn.bias_add(%2, meta[relay.Constant][1]);
          nn.relu(%3)
        }

    ``relay.build`` gives such a function to the code generator ``relay.ext.litert``, which embeds
    ``tdse.plan``: the region's slice of the model file. Its body says what it computes, for passes
    that look into it. The weights are constants in the module; ``params`` is not needed any more,
    and does no harm. Attributes of the module and of ``main``, other functions, and the parameters
    of ``main`` that are inputs stay; ``tdse.placement`` is added, the placement as JSON.

    A module that cannot be placed is left unchanged with a warning that gives the reasons; one that
    is partitioned already is left unchanged.

    Args:
        model: the ``.tflite`` that the module was imported from.
        params: what the importer gave beside the module; none if they are constants in it.
        platform: ``host``, a preset, or a platform file. On an emulated platform, regions on Edge
            TPUs have ``Compiler="edgetpu"``, are computed by LiteRT, and take the time that is
            modelled for them and for the transfers that they need; so do regions on its CPU.
        placement, objective, pins, threads, budget_s, seed, targets: as of
            ``tdse.relax.Partition``. ``litert`` and ``llvm`` are the targets. On an emulated
            platform a pin ``OP=llvm`` leaves operators to TVM's code and to the time that this
            takes here; ``threads`` and ``targets`` are not for it.

    Raises:
        UsageError: an argument is wrong, or the module is not what TVM imports from the file.
        PlatformError, PlacementError: as of ``tdse.relax.Partition``.
        TargetError: a region needs what LiteRT's C interface cannot run.
    """

    def __init__(
        self,
        model: str | os.PathLike[str],
        params: Mapping[str, Any] | None = None,
        *,
        platform: str = "host",
        placement: GivenPlacement | None = None,
        objective: str = "latency",
        pins: Sequence[str] = (),
        threads: int | None = None,
        budget_s: float = 60.0,
        seed: int = 0,
        targets: Sequence[Any] | None = None,
    ) -> None:
        options = Options(
            platform, names_of(targets), threads, budget_s, tuple(pins), seed, objective
        )
        asked = Asked(options, placement)
        super().__init__(lambda module: _partition(module, dict(params or {}), model, asked))


def partition(
    mod: Any,
    params: Mapping[str, Any] | None = None,
    *,
    model: str | os.PathLike[str],
    platform: str = "host",
    placement: GivenPlacement | None = None,
    pins: Sequence[str] = (),
    budget_s: float = 60.0,
) -> Any:
    """``mod`` with regions; see ``Partition``, which has more options."""
    made = Partition(
        model, params, platform=platform, placement=placement, pins=pins, budget_s=budget_s
    )
    return made(mod)


def _partition(
    module: Any, params: Mapping[str, Any], model: str | os.PathLike[str], asked: Asked
) -> Any:
    if is_partitioned(module):
        return module
    demand_file(model)
    graph = read_tflite(Path(model))
    demand_origin(module, params, graph, str(model))
    is_emulated = load_platform(asked.options.platform).is_emulated
    return with_regions(module, graph, place(graph, asked), is_emulated=is_emulated)
