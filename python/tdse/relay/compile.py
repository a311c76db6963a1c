"""From a ``.tflite`` to a library for TVM's graph executor: what ``tdsec --ir relay`` does."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import tvm
from tvm import relay

from tdse import __version__
from tdse.admission import admit
from tdse.emulation.emulate import demand_mode
from tdse.errors import UsageError
from tdse.graph.reader import read_tflite
from tdse.link import find_linker
from tdse.partitioning import GivenPlacement, placement_of
from tdse.platform import load_platform
from tdse.runtime.artefact import (
    METADATA,
    MODULE,
    PLACEMENT,
    check_writable,
    demand_space,
    replacing,
    write_json,
)
from tdse.runtime.metadata import RELAY_SCHEMA
from tdse.search.placement import Placement
from tdse.targets.llvm_relay import import_model

from .partition import Partition
from .regions import build_target


def compile(
    model: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    platform: str = "host",
    targets: Sequence[str] | None = None,
    objective: str = "latency",
    threads: int | None = None,
    budget_s: float = 60.0,
    pins: Sequence[str] = (),
    placement: GivenPlacement | None = None,
    emulate: str | None = None,
    seed: int = 0,
) -> Placement:
    """Place ``model``, build it with ``relay.build``, and write ``model.so`` and its placement.

    Args:
        out: directory; one that tdse wrote is replaced.
        emulate: ``correctness`` for an emulated platform; results cannot be replayed here.
        platform, targets, objective, threads, budget_s, pins, placement, seed: as of
            ``Partition``.

    Returns:
        The placement.

    Raises:
        UsageError, ModelError, PlatformError, PlacementError, TargetError, ArtefactError: as of
            ``tdse.compile``.
    """
    if demand_mode(load_platform(platform), emulate) == "timing":
        raise UsageError(
            "a module of Relay computes its results",
            where="--emulate timing",
            hint="give --emulate correctness",
        )
    check_writable(out)
    linker = find_linker()
    graph = read_tflite(Path(model))
    demand_space(len(graph.data), out)
    admit(graph)
    module, params = import_model(graph.data)
    partition = Partition(
        model,
        params,
        platform=platform,
        placement=placement,
        objective=objective,
        pins=pins,
        threads=threads,
        budget_s=budget_s,
        seed=seed,
        targets=targets,
    )
    module = partition(module)
    chosen = placement_of(module)
    with tvm.transform.PassContext(opt_level=3):
        library = relay.build(module, target=build_target(module))
    with replacing(out) as beside:
        library.export_library(str(beside / MODULE), cc=str(linker))
        chosen.save(beside / PLACEMENT)
        metadata = {
            "schema": RELAY_SCHEMA,
            "tdse": __version__,
            "tvm": str(tvm.__version__),
            "model": {"name": graph.name, "sha256": graph.sha256},
            "platform": platform,
            "emulated": emulate is not None,
        }
        write_json(beside / METADATA, metadata)
    return chosen
