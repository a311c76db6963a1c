"""What ``metadata.json`` says of an artefact that was just made."""

from __future__ import annotations

import datetime
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tdse
from tdse.alternatives import emulated_alternatives, table_alternatives
from tdse.elsewhere import why_elsewhere
from tdse.emulation.emulate import Emulation
from tdse.emulation.executor import KIND
from tdse.graph.labels import read_labels
from tdse.graph.model import Graph
from tdse.link import find_linker
from tdse.measure.accuracy import Difference
from tdse.measure.conditions import current_conditions, library_versions
from tdse.measure.stats import ratio
from tdse.place import Decision, Options
from tdse.platform import Device, Platform, discover_host
from tdse.runtime.artefact import METADATA_SCHEMA
from tdse.runtime.edgetpu import KIND as EDGETPU_KIND
from tdse.search.placement import Placement
from tdse.versions import needs_of


def artefact_metadata(
    graph: Graph,
    model: str | os.PathLike[str],
    options: Options,
    placement: Placement,
    decision: Decision | None,
    gap: Difference | None,
    kinds: Sequence[str],
    processor: Device | None,
) -> dict[str, Any]:
    """What is said of every artefact; of some, the functions below add to it or say other."""
    return {
        "schema": METADATA_SCHEMA,
        "tdse": tdse.__version__,
        "made_at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "model": {
            # A name that is not UTF-8 could not be written as JSON.
            "path": str(Path(model).absolute()).encode(errors="backslashreplace").decode(),
            "name": graph.name,
            "sha256": graph.sha256,
            "ops": len(graph.placed_ops),
        },
        "inputs": list(graph.input_names),
        "outputs": list(graph.output_names),
        "platform": options.platform,
        "objective": options.objective if decision is not None else None,
        "threads": placement.threads,
        "lanes": placement.lanes,
        "seed": options.seed,
        "budget_s": options.budget_s,
        "pins": list(options.pins),
        "region_kinds": list(kinds),
        "predicted_us": placement.predicted_us,
        "predicted_period_us": placement.predicted_period_us,
        "difference_from_litert": None if gap is None else asdict(gap),
        "conditions": asdict(current_conditions()),
        "cpu": _cpu_metadata(kinds, processor),
        "versions": dict(library_versions()),
        "needs": needs_of(kinds),
        "searches": [asdict(one) for one in decision.searches] if decision else [],
        "tuned": [asdict(one) for one in decision.tuned] if decision else [],
        "contest": _contest_metadata(decision),
        "op_costs": _op_costs(decision),
        "labels": {name: list(labels) for name, labels in read_labels(graph).items()},
        "linker": str(find_linker(processor)),
        "licences": _licences_metadata(kinds),
    }


def emulated_metadata(emulation: Emulation, objective: str) -> dict[str, Any]:
    """What is other of an emulated board than of one that is there."""
    return {
        "emulated": emulation.emulated.model_dump(mode="json"),
        "objective": objective if emulation.searches else None,
        "lanes": len(emulation.emulated.lanes),
        "region_kinds": [KIND] * len(emulation.emulated.steps),
        "needs": needs_of([KIND]),
        "searches": [asdict(one) for one in emulation.searches],
        "op_costs": emulated_alternatives(emulation),
    }


def _cpu_metadata(kinds: Sequence[str], processor: Device | None) -> dict[str, Any]:
    """What must be there to load ``model.so``: LiteRT chooses its code when it runs, TVM before."""
    device = processor or discover_host().devices[0]
    features: Sequence[str] = ()
    if _have_kernels(kinds):
        # It comes with TVM.
        from tdse.targets.llvm_isa import used_features

        features = device.features if processor is None else used_features(processor)
    return {"isa": device.isa, "features": list(features)}


def elsewhere_metadata(board: Platform, decision: Decision | None) -> dict[str, Any]:
    """What of an artefact for another machine is not known as of one for this machine."""
    host = discover_host().devices[0]
    found = None if decision is None else decision.elsewhere
    return {
        "why": why_elsewhere(board),
        "times_of": found.times_of if found else "",
        "is_its_own": bool(found and found.is_its_own),
        "why_not_its_own": found.why_not_its_own if found else "",
        "checked_on": f"{host.isa}, {host.model_name}",
    }


def _have_kernels(kinds: Sequence[str]) -> bool:
    """Whether a region has code of its own, which at least launches what runs elsewhere."""
    return any(not kind.startswith("litert") and kind != EDGETPU_KIND for kind in kinds)


def _licences_metadata(kinds: Sequence[str]) -> list[dict[str, str]]:
    """What ``model.so`` is made of; the libraries that it calls are not in it."""
    parts = [{"part": "the model's operators and weights", "licence": "that of the model file"}]
    if EDGETPU_KIND in kinds:
        compiled = {"part": "executables that edgetpu_compiler made", "licence": "Google's terms"}
        parts.append(compiled)
    if _have_kernels(kinds):
        parts.append({"part": "kernels generated by Apache TVM and tdse", "licence": "Apache-2.0"})
    return parts


def _op_costs(decision: Decision | None) -> dict[str, Any] | None:
    if decision is None or decision.table is None:
        return None
    return table_alternatives(decision.table, decision.legality)


def _contest_metadata(decision: Decision | None) -> list[dict[str, Any]]:
    """One entry a contestant; times are measured, predictions say so."""
    if decision is None:
        return []
    contest = decision.contest
    won = contest.results.get(contest.winner.name)
    rows = []
    for contestant in contest.contestants:
        row: dict[str, Any] = {
            "name": contestant.name,
            "threads": contestant.threads,
            "regions": len(contestant.regions),
            "targets": list(contestant.targets),
            "lanes": contestant.lanes,
            "predicted_us": contestant.predicted_us,
            "predicted_period_us": contestant.predicted_period_us,
            "power_w": contestant.power_w,
            "won": contestant.name == contest.winner.name,
        }
        result = contest.results.get(contestant.name)
        if result is None or won is None:
            row["not_timed"] = contestant.not_timed
        else:
            against = ratio(result.medians_us, won.medians_us)
            row["measured_us"] = result.median_us
            row["modelled_mj"] = contestant.energy_mj(result.median_us)
            row["launch_medians_us"] = result.medians_us
            row["ratio_to_winner"] = [against.value, against.low, against.high]
        rows.append(row)
    return rows
