"""What it costs to place a network by predictions alone, without a record of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cost_data import COUNTS, TARGETS, Network, Say

from tdse.candidates import SEARCH_S, placed_regions
from tdse.child import Child
from tdse.contest import Builder, Contestant, run_contest
from tdse.cost.library import VariantModels
from tdse.legality import Legality, find_legality
from tdse.measure.records import Record, RecordStore
from tdse.measure.stats import ratio
from tdse.measure.switches import Switches, measure_switches
from tdse.place import cost_problem
from tdse.platform import discover_host
from tdse.search import search
from tdse.targets import target_threads, target_variants

# Seconds of timing for each network.
_RACE_S = 8.0


@dataclass(frozen=True)
class Regret:
    """Two placements of a network, timed in turns.

    Attributes:
        network: its name.
        records: the placement from its records: threads and operators on each target.
        predictions: likewise from predictions.
        ratio: of the time of the second to that of the first.
        low: of its 95 % interval.
        high: likewise.
    """

    network: str
    records: str
    predictions: str
    ratio: float
    low: float
    high: float


def measure_regret(
    network: Network,
    store: RecordStore,
    models: Mapping[tuple[str, int], VariantModels],
    say: Say,
) -> Regret:
    """Place by records and by predictions, build both, and time them.

    Args:
        network: with records of all its operators.
        store: has decisions on its operators.
        models: trained without it.
        say: progress.
    """
    graph = network.graph
    legality = find_legality(graph, TARGETS, store)
    switches = measure_switches(target_variants(TARGETS, COUNTS), store)
    first = _best(network, legality, models, switches, network.records, "records")
    second = _best(network, legality, models, switches, {}, "predictions")
    texts = [_text(contestant) for contestant in (first, second)]
    if (first.threads, first.regions) == (second.threads, second.regions):
        return Regret(network.name, *texts, 1.0, 1.0, 1.0)
    say(f"{network.name}: {texts[0]} against {texts[1]}")
    with Child(graph, lambda *_: None) as child:
        contest = run_contest(
            graph, [first, second], Builder(child, 0), seed=0, seconds=_RACE_S, say=lambda *_: None
        )
    results = [contest.results[name].medians_us for name in ("predictions", "records")]
    found = ratio(*results)
    return Regret(network.name, *texts, found.value, found.low, found.high)


def _best(
    network: Network,
    legality: Legality,
    models: Mapping[tuple[str, int], VariantModels],
    switches: Switches,
    records: Mapping[tuple[str, str, int], Record],
    name: str,
) -> Contestant:
    """The placement with the least predicted time over all thread counts."""
    graph = network.graph
    candidates = []
    for count in COUNTS:
        threads = {target: target_threads(target, [count])[0] for target in TARGETS}
        variants = {target: (target, threads[target]) for target in TARGETS}
        _, problem = cost_problem(
            graph,
            legality,
            threads=threads,
            launch_us={t: models[variant].launch_us for t, variant in variants.items()},
            records=records,
            models={t: models[variant] for t, variant in variants.items()},
            pins={},
            device=discover_host().devices[0],
            switches_us=switches,
        )
        best = search(problem, seed=0, seconds=SEARCH_S).candidates[0]
        regions = placed_regions(graph, problem, best.outcome)
        candidates.append(Contestant(name, count, regions, best.values[0], None))
    return min(candidates, key=lambda contestant: contestant.predicted_us or 0.0)


def _text(contestant: Contestant) -> str:
    counts: dict[str, int] = {}
    for region in contestant.regions:
        counts[region.device] = counts.get(region.device, 0) + len(region.ops)
    parts = ", ".join(f"{count} {target}" for target, count in counts.items())
    return f"x{contestant.threads}: {parts}"
