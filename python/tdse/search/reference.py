"""The specification of the evaluation: slow and plain. ``cpp/evaluate`` does the same, fast.

Both add and compare in the same order, so that their results are equal to the last bit. Where an
order matters to that, it is said.

**Regions.** As ``regions`` says.

**Work.** The microseconds of a region that runs alone: a launch, its operators, and handing over
each tensor that it reads and did not make, and the outputs of the model that it makes. An operator
that is not legal counts nothing here, and as a violation there.

**Schedule.** All models start at 0 with their inputs in the host's memory. A region may start once
all that it reads is in its device's memory and as many cores as its variant needs are free. At any
time, each device starts the region of the highest priority that may, as long as its cores suffice;
one that needs more cores than are free is waited for. The priority is the longest way from the
region's start to the end of the run if nothing were shared, and what the genes add to it. Equal
priorities go to the lower region. If the genes are strict, the devices follow one list instead:
regions in the order of their priority, but after all that they read from; each device starts its
regions in this order and no other.

A tensor is carried once to each other memory in which it is read, when the region that makes it is
done. Transfers on one bus take turns in the order in which they are asked for: by time, region,
tensor, reader; the host's copy of an output comes after the readers. A transfer occupies no device.

**Side by side.** A region on device d takes ``1 + sum over e of (slowdown[d][e] - 1) * n_e`` times
as long while n_e other regions run on each device e. It is rated anew whenever that changes.

**Period.** In a pipeline every device works on other inferences than its neighbours. Over many
runs, a device with c cores has c // k slots for the regions that need k cores, which take the runs
in turns; so a region with work w and batch b loads it with w / (c // k) / b for each run. The
regions of a device follow one another. The period is the load of the most loaded device or bus.
Devices that are used at all are taken to be always busy when it comes to slowing down others, and
all slots of a device to be full. Identical devices whose regions take turns this way are one
device with that many cores.

**Memory.** The constants of the operators are there at any time. A region takes, from its start to
its end, what its inner tensors need if it computes its operators in ascending order and keeps
each until its last reader has run; and the tensors that leave it from its start on. Those are
released when the last region that reads them is done, a copy in another memory when the last that
reads it there is; outputs are kept, also on the host. A copy is there from when it is asked for.
Inputs are in the host's memory from 0 on. Counted is one run with one inference.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import truediv

from tdse.search.placed import Placed, start_keys
from tdse.search.problem import Problem
from tdse.search.schedule import Genes, Outcome, Rule, Schedule, ScheduledRegion
from tdse.search.timeline import Timeline


def assess(problem: Problem, genes: Genes) -> Outcome:
    """One run of all models with the given genes, and its figures.

    Args:
        problem: the placement problem.
        genes: what is decided.
    """
    placed = Placed(problem, genes)
    run = Timeline(placed, start_keys(placed, genes), strict=genes.strict)
    run.finish()
    latency_us = tuple(run.latency_us)
    makespan_us = max(latency_us)
    loads_us = _loads_us(placed, run)
    periods_us = problem.period_us.tolist()
    utilisation = [_sum(map(truediv, by_model, periods_us)) for by_model in loads_us]
    active_uj = _active_uj(placed, run)
    energy_uj = active_uj + _sum(problem.idle_w.tolist()) * makespan_us
    violations = [0.0] * len(Rule)
    _count_broken_rules(placed, violations)
    violations[Rule.NO_LINK] = float(run.n_without_link)
    violations[Rule.MEMORY] = _excess(run.peak_bytes, problem.memory_bytes.tolist())
    violations[Rule.DEADLINE] = _excess(latency_us, problem.deadline_us.tolist())
    violations[Rule.PERIOD] = _excess(utilisation, [1.0] * len(utilisation))
    violations[Rule.ENERGY] = _excess([energy_uj], [problem.energy_budget_uj])
    regions = tuple(
        ScheduledRegion(
            tuple(ops), placed.variant[region], run.start_us[region], run.end_us[region]
        )
        for region, ops in enumerate(placed.regions)
    )
    return Outcome(
        Schedule(regions, tuple(run.transfers)),
        latency_us,
        makespan_us,
        max(map(_sum, loads_us)),
        active_uj,
        energy_uj,
        tuple(run.peak_bytes),
        tuple(violations),
    )


def _loads_us(placed: Placed, run: Timeline) -> list[list[float]]:
    """Microseconds for which a run of each model occupies each device, then each bus."""
    problem = placed.problem
    used = [False] * problem.n_devices
    slots = [1] * problem.n_devices
    for region, device in enumerate(placed.device):
        used[device] = True
        slots[device] = max(slots[device], _slots(placed, region))
    loads_us = [[0.0] * problem.n_models for _ in range(problem.n_devices)]
    for region, device in enumerate(placed.device):
        factor = 1.0
        for other in range(problem.n_devices):
            beside = slots[device] - 1 if other == device else int(used[other])
            factor += (float(problem.slowdown[device, other]) - 1.0) * beside
        batch = int(problem.variant_batch[placed.variant[region]])
        share_us = placed.work_us[region] * factor / (_slots(placed, region) * batch)
        loads_us[device][placed.model[region]] += share_us
    return loads_us + run.bus_load_us


def _slots(placed: Placed, region: int) -> int:
    """How many regions like this one the device has cores for."""
    variant, device = placed.variant[region], placed.device[region]
    return int(placed.problem.device_cores[device] // placed.problem.variant_cores[variant])


def _active_uj(placed: Placed, run: Timeline) -> float:
    """That of the regions by their times, and that of the operators."""
    problem, regions_uj = placed.problem, 0.0
    for region, variant in enumerate(placed.variant):
        time_us = run.end_us[region] - run.start_us[region]
        regions_uj += float(problem.active_w[variant]) * time_us
    return regions_uj + _sum(
        float(problem.energy_uj[op, variant]) for op, variant in enumerate(placed.variants)
    )


def _count_broken_rules(placed: Placed, violations: list[float]) -> None:
    """Fills in what does not depend on time."""
    problem, variants = placed.problem, placed.variants
    device = [placed.device[region] for region in placed.region_of]
    for op, choices in enumerate(problem.choices):
        violations[Rule.ILLEGAL] += variants[op] not in choices
    for one, other in problem.forbidden_pairs.tolist():
        violations[Rule.FORBIDDEN_PAIR] += device[one] == device[other]
    for variant in range(problem.n_variants):
        count = placed.variant.count(variant)
        if problem.single_region[variant] and count > 1:
            violations[Rule.SINGLE_REGION] += count - 1
    for u, v in problem.links:
        violations[Rule.PREFIX] += bool(problem.prefix[variants[v]] and variants[u] != variants[v])
    parameter_bytes = [0] * problem.n_devices
    for op, size_bytes in enumerate(problem.parameter_bytes.tolist()):
        parameter_bytes[device[op]] += size_bytes
    capacities = problem.parameter_capacity_bytes.tolist()
    violations[Rule.PARAMETERS] = _excess(parameter_bytes, capacities)


def _excess(amounts: Sequence[float], limits: Sequence[float]) -> float:
    """The sum of what is above the limits, in their order."""
    return _sum(max(0.0, one - limit) for one, limit in zip(amounts, limits, strict=True))


def _sum(amounts: Iterable[float]) -> float:
    """From left to right: from Python 3.12 on, ``sum`` adds more exactly than C++."""
    total = 0.0
    for amount in amounts:
        total += amount
    return total
