"""What is expected of a model on one platform: of its whole on each target, and of placements."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tdse.candidates import SEARCH_S, placed_regions
from tdse.child import Progress
from tdse.cost.energy import energy_of
from tdse.cost.library import VariantModels, usable_records, variant_models
from tdse.cost.memory import estimate_memory
from tdse.cost.table import MEASURED, MODELLED, PREDICTED, UNKNOWN, CostTable
from tdse.errors import TdseError
from tdse.graph.model import Graph
from tdse.legality import Legality, demand_all_supported
from tdse.measure.launch import find_launch
from tdse.measure.records import Record, RecordStore
from tdse.measure.switches import find_switches
from tdse.measure.transfers import find_transfers
from tdse.place import cost_problem
from tdse.platform import Device
from tdse.search import Problem, search
from tdse.search.native import Evaluator
from tdse.search.schedule import Genes, Outcome
from tdse.targets import Variant, target_threads, target_variants

SOURCES = (MEASURED, PREDICTED, MODELLED)
_PROFILE = "run `tdse profile --budget 600`"


@dataclass(frozen=True)
class Estimate:
    """A figure that is not known exactly.

    Attributes:
        value: the figure.
        low: lower bound of its 90 % interval; None where its error is not known.
        high: upper bound.
        source: ``measured``, ``predicted`` or ``modelled``.
    """

    value: float
    low: float | None
    high: float | None
    source: str


@dataclass(frozen=True)
class Choice:
    """A way to run the model, and what is expected of it.

    Attributes:
        name: ``litert x2`` for the whole model on a target, ``placed x2`` for a placement.
        threads: threads of its regions.
        targets: that it uses, to the number of operators that run there.
        regions: number of regions.
        latency_us: microseconds of one run.
        low_us: lower bound of its 90 % interval; None where an operator's time is modelled.
        high_us: upper bound.
        ops: source of a time to the number of operators whose time has it.
        gmacs_per_s: 1e9 multiply-accumulates per second.
        utilisation: share of the latency that the multiply-accumulates would take at the highest
            rate that an operator on record with their variant and element type reached. Above 1
            where more is expected than was ever measured; None where the model has none, or there
            is no record of such an operator.
        peak_memory_bytes: resident memory of a process that loads and runs it, at most.
        energy_mj: millijoules of one run above an idle machine; None where the platform has no
            power figures.
    """

    name: str
    threads: int
    targets: Mapping[str, int]
    regions: int
    latency_us: float
    low_us: float | None
    high_us: float | None
    ops: Mapping[str, int]
    gmacs_per_s: float
    utilisation: float | None
    peak_memory_bytes: Estimate
    energy_mj: Estimate | None


@dataclass(frozen=True)
class Basis:
    """What the times of a variant rest on.

    Attributes:
        variant: a target with a thread count.
        records: of operators that its cost model has learnt from; 0 where there is no model.
        chains: of regions that its region model has learnt from; 0 where a region is taken for the
            sum of its operators.
    """

    variant: str
    records: int
    chains: int


@dataclass(frozen=True)
class Outlook:
    """What is expected of a model on one platform.

    Attributes:
        platform: name of the platform.
        machine: the processor whose records were used.
        choices: by latency.
        left_out: name of a whole-model choice that is not among them, and why.
        basis: of each variant.
    """

    platform: str
    machine: str
    choices: tuple[Choice, ...]
    left_out: tuple[tuple[str, str], ...]
    basis: tuple[Basis, ...]


def outlook(
    graph: Graph,
    legality: Legality,
    counts: Sequence[int],
    store: RecordStore,
    device: Device,
    *,
    name: str,
    seed: int,
    say: Progress,
) -> Outlook:
    """What is expected on one platform.

    Args:
        graph: a model that can be cut.
        legality: where its operators may run.
        counts: thread counts.
        store: has the records of the platform's machine.
        device: of the platform, for its power figures.
        name: of the platform.
        seed: of the search.
        say: progress.

    Raises:
        ModelError: an operator runs on no target.
        TdseError: nothing is known of a variant.
    """
    demand_all_supported(graph, legality)
    records = store.find(legality.signatures.values())
    variants = target_variants(legality.targets, counts)
    models = variant_models(
        store, variants, begin=lambda done, name: say("models", done, len(variants), name)
    )
    _demand_known(legality, records, models, name)
    launches = find_launch(variants, store)
    switches = find_switches(variants, store)
    transfers = {target: find_transfers(target, store) for target in legality.targets}
    rates = _best_rates(store, variants)
    choices: list[Choice] = []
    left_out: list[tuple[str, str]] = []
    for count in counts:
        given = {target: target_threads(target, [count])[0] for target in legality.targets}
        of_target = {target: models[target, threads] for target, threads in given.items()}
        table, problem = cost_problem(
            graph,
            legality,
            threads=given,
            launch_us={
                target: launches.get((target, threads), models[target, threads].launch_us)
                for target, threads in given.items()
            },
            records=records,
            models=of_target,
            pins={},
            device=device,
            switches_us=switches,
            transfers={target: times for target, times in transfers.items() if times},
        )
        expected = _Expected(graph, table, problem, device, of_target, rates)
        for column, target in enumerate(table.targets):
            if count not in target_threads(target, counts):
                continue
            why_not = _why_not(graph, legality, table, column)
            if why_not:
                left_out.append((f"{target} x{count}", why_not))
            else:
                whole = Genes((column,) * problem.n_ops)
                choices.append(expected.choice(f"{target} x{count}", count, whole))
        say("search", 0, 1, f"{count} threads")
        best = search(problem, seed=seed, seconds=SEARCH_S).candidates[0].genes
        # A search that ends with one target has found a choice that is there already.
        if len(set(best.variants)) > 1:
            choices.append(expected.choice(f"placed x{count}", count, best))
    return Outlook(
        platform=name,
        machine=store.conditions.cpu,
        choices=tuple(sorted(choices, key=lambda choice: choice.latency_us)),
        left_out=tuple(left_out),
        basis=tuple(
            Basis(
                str(Variant(*variant)),
                known.operators.records if known.operators else 0,
                known.regions.chains,
            )
            for variant, known in models.items()
        ),
    )


@dataclass(frozen=True)
class _Expected:
    """What choices with one thread count have in common."""

    graph: Graph
    table: CostTable
    problem: Problem
    device: Device
    models: Mapping[str, VariantModels]
    rates: Mapping[tuple[str, int, str], float]

    def choice(self, name: str, threads: int, genes: Genes) -> Choice:
        """The choice that runs each operator on the target of its column."""
        assignment = [int(column) for column in genes.variants]
        outcome = Evaluator(self.problem).outcome(genes)
        latency_us = outcome.makespan_us
        low_us, high_us = self._bounds_us(outcome)
        regions = placed_regions(self.graph, self.problem, outcome)
        sources = Counter(self.table.source[row][column] for row, column in enumerate(assignment))
        macs = sum(self.graph.ops[op].macs for op in self.table.ops)
        return Choice(
            name=name,
            threads=threads,
            targets=dict(Counter(self.table.targets[column] for column in assignment)),
            regions=len(regions),
            latency_us=latency_us,
            low_us=low_us if math.isfinite(high_us) else None,
            high_us=high_us if math.isfinite(high_us) else None,
            ops={source: sources[source] for source in SOURCES},
            gmacs_per_s=macs / latency_us / 1e3,
            utilisation=self._utilisation(assignment, latency_us),
            peak_memory_bytes=Estimate(
                estimate_memory(self.graph, regions).peak_bytes, None, None, MODELLED
            ),
            energy_mj=_energy(self.device, latency_us, threads),
        )

    def _bounds_us(self, outcome: Outcome) -> tuple[float, float]:
        """See ``tdse.predict``; the upper one is infinite where an operator's time is modelled."""
        total = np.zeros(2)
        for region in outcome.schedule.regions:
            rows, column = list(region.ops), region.variant
            launch_us = self.problem.launch_us[column]
            bounds = launch_us + np.array(
                [self.table.low_us[rows, column].sum(), self.table.high_us[rows, column].sum()]
            )
            margin = self.models[self.table.targets[column]].regions.margin
            if len(rows) > 1 and margin > 0 and np.isfinite(bounds[1]):
                mean_us = launch_us + self.table.cost_us[rows, column].sum()
                bounds = mean_us * np.exp([-margin, margin])
            total += bounds
        return float(total[0]), float(total[1])

    def _utilisation(self, assignment: Sequence[int], latency_us: float) -> float | None:
        ideal_us = 0.0
        for op, column in zip(self.table.ops, assignment, strict=True):
            operator = self.graph.ops[op]
            if operator.macs:
                dtype = self.graph.tensors[operator.outputs[0]].dtype
                variant = self.table.targets[column], self.table.threads[column]
                rate = self.rates.get((*variant, dtype))
                if rate is None:
                    return None
                ideal_us += operator.macs / rate
        return ideal_us / latency_us if ideal_us else None


def _energy(device: Device, latency_us: float, threads: int) -> Estimate | None:
    """Modelled as if all threads were busy all the time; None without power figures."""
    found = energy_of(device, latency_us, threads)
    return None if found is None else Estimate(found.energy_mj, None, None, found.source)


def _demand_known(
    legality: Legality,
    records: Mapping[tuple[str, str, int], Record],
    models: Mapping[tuple[str, int], VariantModels],
    platform: str,
) -> None:
    """Refuse to predict where there is a variant of which nothing is known.

    Raises:
        TdseError: naming the variants.
    """
    nothing = [
        str(Variant(*variant))
        for variant, known in models.items()
        if known.operators is None
        and any(support.ok for support in legality.support[variant[0]].values())
        and not any((key, *variant) in records for key in legality.signatures.values())
    ]
    if not nothing:
        return
    raise TdseError(
        f"there are no cost models of {', '.join(nothing)}",
        where=f"platform {platform}",
        why="too few operators were measured there, and none of this model's",
        hint=f"{_PROFILE} first, or choose what is known with --targets and --threads",
    )


def _why_not(graph: Graph, legality: Legality, table: CostTable, column: int) -> str:
    """Why the whole model cannot be predicted on a target; empty if it can."""
    target = table.targets[column]
    support = legality.support[target]
    refused = [op for op in table.ops if not support[op].ok]
    if refused:
        return f"it cannot run {_ops(graph, refused)}: {support[refused[0]].reason}"
    unknown = [
        op
        for op, sources in zip(table.ops, table.source, strict=True)
        if sources[column] == UNKNOWN
    ]
    if unknown:
        return f"nothing is known of the time of {_ops(graph, unknown)}; {_PROFILE}"
    return ""


def _ops(graph: Graph, ops: Sequence[int]) -> str:
    more = f" and {len(ops) - 1} more" if len(ops) > 1 else ""
    return f"op {graph.ops[ops[0]].label}{more}"


def _best_rates(
    store: RecordStore, variants: Sequence[tuple[str, int]]
) -> dict[tuple[str, int, str], float]:
    """The most MAC/us that an operator reached: (target, threads, dtype of the result) to that."""
    rates: dict[tuple[str, int, str], float] = {}
    for variant in variants:
        for record in usable_records(store.of_variant(*variant)):
            if len(record.workloads) == 1 and record.workloads[0].macs:
                work = record.workloads[0]
                key = (*variant, work.outputs[0].dtype)
                rates[key] = max(rates.get(key, 0.0), work.macs / record.median_us)
    return rates
