"""Region by region: does an artefact give what LiteRT gives, and where does it first not?"""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tdse.account import executor_regions
from tdse.bench import cases_of, model_of
from tdse.child import BUILD_SILENT_S, Child, CrashError, Progress, unheard
from tdse.errors import TargetError, UsageError
from tdse.files import written
from tdse.measure.accuracy import Difference
from tdse.runtime.artefact import PLACEMENT
from tdse.runtime.metadata import read_metadata
from tdse.runtime.model import load
from tdse.search.placement import load_placement


@dataclass(frozen=True)
class RegionGap:
    """How far one region of an artefact is from LiteRT.

    Attributes:
        name: of the region.
        ops: labels of its operators.
        own: difference of its outputs from LiteRT's on the very inputs that it got.
        total: difference of its outputs from those of LiteRT in a run of its own, so with what the
            regions before it have added.
    """

    name: str
    ops: tuple[str, ...]
    own: Difference
    total: Difference


@dataclass(frozen=True)
class Divergence:
    """The regions of an artefact beside LiteRT, in the order in which they run.

    Attributes:
        regions: all of them.
        saved: the file that holds tensors of the regions that differ; empty if there is none.
    """

    regions: tuple[RegionGap, ...]
    saved: str = ""

    @property
    def first(self) -> RegionGap | None:
        """The first region whose own result is not LiteRT's to the bit."""
        return next((one for one in self.regions if not one.own.is_exact), None)

    @property
    def fault(self) -> RegionGap | None:
        """The first region whose own result is off by more than a region may be."""
        return next((one for one in self.regions if not one.own.is_allowed), None)

    @property
    def worst(self) -> tuple[RegionGap, ...]:
        """The regions that differ by themselves, the worst first."""
        apart = [one for one in self.regions if not one.own.is_exact]
        return tuple(sorted(apart, key=lambda one: (-one.own.steps, -one.own.relative)))


def find_divergence(
    directory: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    inputs: str | os.PathLike[str] | None = None,
    save: str | os.PathLike[str] | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Divergence:
    """Run an artefact once, and LiteRT on the inputs of each of its regions.

    Both run in a process of their own, so that a crash in either is an error.

    Args:
        directory: an artefact.
        model: the ``.tflite`` it was made of; by default where it was when compiled.
        inputs: an ``.npz`` as of ``bench``, of which the first case is taken; random if None.
        save: an ``.npz`` to write: of each region that differs what it read, made, and should have
            made, as ``REGION.input0``, ``REGION.ours0``, ``REGION.litert0``.
        seed: of random inputs.
        progress: called with (stage, done, all, detail).

    Raises:
        ArtefactError: there is no artefact, or it does not fit this machine.
        ModelError: the model is missing, or another than the artefact was made of.
        TargetError: the artefact or LiteRT fails or crashes.
        UsageError: the inputs do not fit, results are replayed, or the file cannot be written.
    """
    say = progress or unheard
    metadata = read_metadata(directory)
    if metadata.emulated is not None and metadata.emulated.mode == "timing":
        raise UsageError(
            "the artefact replays recorded results",
            where=str(directory),
            why="no region of it computes anything",
            hint="compile it with --emulate correctness",
        )
    graph = model_of(metadata.model, model)
    case = cases_of(graph, load(directory), inputs, seed)[0]
    regions = executor_regions(metadata, load_placement(Path(directory) / PLACEMENT))
    say("check", 0, 1, "each region beside LiteRT")
    with Child(graph, say) as child:
        given, tensors = child.directory / "inputs.npz", child.directory / "tensors.npz"
        np.savez(given, *case)
        try:
            rows = child.ask(
                "compare_regions",
                silent_s=BUILD_SILENT_S,
                directory=str(Path(directory).absolute()),
                ops=[list(region.ops) for region in regions],
                inputs=str(given),
                tensors=str(tensors),
            )
        except CrashError as crash:
            raise TargetError(
                "the regions cannot be compared with LiteRT",
                where=str(directory),
                why=f"running them {crash.why}",
            ) from None
        if save is not None:
            with written(save, "the tensors"):
                Path(save).write_bytes(tensors.read_bytes())
    return Divergence(
        tuple(
            RegionGap(
                row["name"],
                tuple(graph.ops[op].label for op in row["ops"]),
                Difference(**row["own"]),
                Difference(**row["total"]),
            )
            for row in rows
        ),
        "" if save is None else str(save),
    )


def divergence_json(found: Divergence) -> dict[str, Any]:
    """The same as plain values."""
    first, fault = found.first, found.fault
    return {
        "first": None if first is None else first.name,
        "fault": None if fault is None else fault.name,
        "worst": [one.name for one in found.worst],
        "saved": found.saved,
        "regions": [asdict(one) for one in found.regions],
    }
