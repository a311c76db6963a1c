"""How results are printed for people, and as JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from rich.table import Table

from tdse.cli.common import console, say
from tdse.measure.stats import Ratio, ratio
from tdse.runtime.artefact import FRONT
from tdse.runtime.emulated import Emulated

if TYPE_CHECKING:
    from tdse.bench import Report, Row
    from tdse.cache import Cache
    from tdse.candidates import Searched
    from tdse.contest import Contest
    from tdse.cost.table import CostTable
    from tdse.doctor import Finding
    from tdse.measure.exchange import Exchange
    from tdse.measure.race import Result
    from tdse.pipeline import CompileResult
    from tdse.profile import Profile
    from tdse.search.placement import Placement

# A table of regions longer than this shows the slowest ones.
_MOST_REGIONS = 12
_MOST_CLASSES = 5
# A table of operator kinds longer than this shows those that take LiteRT longest.
_MOST_KINDS = 12


def devices(report: Mapping[str, Any]) -> None:
    """Print what ``describe_devices`` found."""
    out = console()
    out.print(f"platform {report['platform']} ({report['source']})")
    for device in report["devices"]:
        memory = device["memory_bytes"]
        size = f", {memory / 2**30:.1f} GiB" if memory else ""
        out.print(f"  {device['name']}: {device['model_name']}, {device['cores']} cores{size}")
        if device["dataflow"] is not None:
            chip = device["dataflow"]["architecture"]
            out.print(
                f"    dataflow: not here; {chip['pes']} PEs with {chip['rf_bytes']} bytes each, "
                f"{chip['spm_kib']:g} KiB of scratchpad, {chip['clock_mhz']:g} MHz, modelled"
            )
        if device["emulated"] is not None:
            rate = device["emulated"]["conv_macs_per_us"] / 1e3
            out.print(f"    emulated: not here; {rate:g} GMAC/s in convolutions on each, modelled")
        if device["edgetpu"] is not None:
            unit = device["edgetpu"]
            out.print(f"    Edge TPU: {unit['link']}, runtime {unit['runtime']}; modelled")
        for target in device["targets"]:
            state = "ready here" if target["available"] else f"not here: {target['reason']}"
            code = f", code of {target['code']}" if target["code"] else ""
            out.print(f"    {target['name']}: {state}{code}")
    out.print(f"linker: {report['linker'] or 'none is found; tdsec needs a C++ compiler'}")


def findings(found: Sequence[Finding]) -> None:
    """Print what ``examine`` found, and what to do."""
    topic = ""
    for finding in found:
        if finding.topic != topic:
            topic = finding.topic
            say(f"{topic}:")
        say(f"  {'ok  ' if finding.ok else 'look'} {finding.name}: {finding.found}")
        if finding.advice:
            say(f"         {finding.advice}")


def cache(found: Cache) -> None:
    """Print what the cache holds."""
    say(f"{found.directory}: {len(found.files)} files, {found.size_bytes / 1e6:.2f} MB")
    for name, size in found.files:
        say(f"  {name}: {size / 1e6:.2f} MB")
    if found.kernels or found.tuned:
        say(f"{found.kernels} compiled kernels, {found.tuned} that were tuned")
    for machine in found.machines:
        conditions = machine.conditions
        versions = ", ".join(f"{name} {version}" for name, version in conditions.versions)
        say(f"{machine.records} records of {conditions.cpu} ({conditions.cores} cores; {versions})")


def cache_json(found: Cache) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "directory": str(found.directory),
        "files": dict(found.files),
        "size_bytes": found.size_bytes,
        "kernels": found.kernels,
        "tuned": found.tuned,
        "machines": [
            {"cpu": m.conditions.cpu, "cores": m.conditions.cores, "records": m.records}
            for m in found.machines
        ],
    }


def profile(measured: Profile | None, exported: Exchange | None, imported: Exchange | None) -> None:
    """Print what was measured, written and taken; None for what was not asked for."""
    if measured is not None:
        share = measured.quiet / max(1, measured.measured)
        say(
            f"{measured.measured} times were measured on {measured.conditions.cpu} "
            f"in {measured.seconds:.0f} s, {share:.0%} of them in quiet moments"
        )
    if exported is not None:
        say(f"exported {exported.records} records of {_machine(exported)}")
    if imported is not None:
        say(
            f"imported {imported.records} records of {_machine(imported)}; "
            f"{imported.taken} of them were not known here, or older"
        )


def profile_json(
    measured: Profile | None, exported: Exchange | None, imported: Exchange | None
) -> dict[str, Any]:
    """The same as plain values."""
    parts = {"measured": measured, "exported": exported, "imported": imported}
    return {name: asdict(part) for name, part in parts.items() if part is not None}


def _machine(exchange: Exchange) -> str:
    conditions = exchange.conditions
    versions = ", ".join(f"{name} {version}" for name, version in conditions.versions)
    return f"{conditions.cpu} ({conditions.cores} cores; {versions})"


@dataclass(frozen=True)
class Ran:
    """What ``tdse run`` did.

    Attributes:
        values: outputs by name.
        source: where the inputs are from.
        saved: file of the outputs, if they were kept.
        trace: file of the trace, likewise.
        emulated: of an emulated board, how results came about, as in the metadata.
        labels: names of classes by output.
    """

    values: Mapping[str, npt.NDArray[Any]]
    source: str
    saved: str | None
    trace: str | None
    emulated: Mapping[str, Any] | None
    labels: Mapping[str, Sequence[str]]

    @property
    def board(self) -> str:
        """What an emulated board's figures are labelled with; empty of any other."""
        return "" if self.emulated is None else Emulated.model_validate(self.emulated).label


def run_json(ran: Ran) -> dict[str, Any]:
    """Shape and range of each output; of one with labels, the largest classes of one result."""
    rows = [
        {
            "name": name,
            "shape": list(value.shape),
            "dtype": str(value.dtype),
            "min": float(value.min()) if value.size else None,
            "max": float(value.max()) if value.size else None,
            "argmax": int(np.argmax(value)) if value.size else None,
            "classes": _classes(value, ran.labels.get(name, ())),
        }
        for name, value in ran.values.items()
    ]
    board = {"emulated": ran.board} if ran.board else {}
    return {**board, "inputs": ran.source, "saved": ran.saved, "trace": ran.trace, "outputs": rows}


def ran(what: Ran) -> None:
    """Print the same for people."""
    if what.board:
        say(what.board)
    say(f"inputs: {what.source}")
    for row in run_json(what)["outputs"]:
        say(
            f"{row['name']}: {row['dtype']}{row['shape']}, from {row['min']} to {row['max']}, "
            f"largest at {row['argmax']}"
        )
        for label, score in row["classes"]:
            say(f"    {score:g}  {label}")
    if what.saved:
        say(f"outputs are in {what.saved}")
    if what.trace:
        say(f"the trace is in {what.trace}")


def _classes(value: npt.NDArray[Any], labels: Sequence[str]) -> list[tuple[str, float]]:
    """The largest elements by label; none where there are no labels or several results."""
    flat = value.reshape(-1)
    if not labels or len(labels) != len(flat):
        return []
    best = np.argsort(-flat.astype(np.float64), kind="stable")[:_MOST_CLASSES].tolist()
    return [(labels[i], float(flat[i])) for i in best]


def compiled(result: CompileResult) -> None:
    """Print the candidates, and what was placed where."""
    out = console()
    placement = result.placement
    if result.decision is not None:
        out.print(_candidates(result.decision.contest))
        if result.decision.search is not None:
            out.print(_search(result.decision.search))
        for contestant in result.decision.contest.contestants:
            if contestant.not_timed and result.decision.elsewhere is None:
                out.print(f"{contestant.name} was not timed: {contestant.not_timed}")
        if result.decision.table is not None:
            _print_kinds(placement, result.decision.table, result.decision.elsewhere is not None)
        if result.decision.disturbed:
            out.print(
                f"the machine was busy: {result.decision.disturbed} times of operators were "
                "measured while something else slowed it down"
            )
        if result.decision.tuned:
            gained = [one.gain for one in result.decision.tuned if one.gain > 1]
            out.print(
                f"of {len(result.decision.tuned)} kernels that are tuned, {len(gained)} gained"
                + (f", at most {max(gained):.2f} times the speed" if gained else "")
            )
    if result.front is not None:
        out.print(_front(result))
    if "elsewhere" in result.metadata:
        _print_elsewhere(result.metadata)
    if "measured_regions" in result.metadata:
        measured = len(result.metadata["measured_regions"])
        out.print(f"placed by a model; {measured} of the regions were measured on an Edge TPU")
    counts = Counter(op.target for op in placement.ops)
    spread = ", ".join(f"{n} ops on {target}" for target, n in sorted(counts.items()))
    out.print(
        f"{result.out}: {spread}, {len(placement.regions)} regions, "
        f"threads: {placement.threads}; regions against LiteRT's: "
        f"{result.difference or 'not compared, the model holds compiled regions'}"
        + ("" if result.outputs is None else f"; outputs: {result.outputs}")
        + (", compiled for this machine" if "elsewhere" in result.metadata else "")
    )
    if result.outputs is not None and not result.outputs.is_allowed:
        out.print(
            "note: the outputs are further from LiteRT's than they may be, and there was nothing "
            "else to choose; tdse bench --layers says which regions differ"
        )


def _print_elsewhere(metadata: Mapping[str, Any]) -> None:
    """What an artefact for another machine rests on, and what is left to do there."""
    out, found, cpu = console(), metadata["elsewhere"], metadata["cpu"]
    out.print(f"compiled for {cpu['isa']}, nothing was timed: {found['why']}")
    if found["is_its_own"]:
        out.print(f"placed by records of {found['times_of']}")
    elif found["times_of"]:
        out.print(
            f"placed by times of this machine, {found['times_of']}, which stand in for those of "
            f"{metadata['platform']}: {found['why_not_its_own']}"
        )
    out.print("tdse deploy runs and times it on the board")


def _candidates(contest: Contest) -> Table:
    from tdse.contest import is_streamed

    streamed = is_streamed(contest.goals)
    what = "streams, ms from one result to the next" if streamed else "ms of a run"
    how = "timed in several processes" if contest.results else "predicted, not timed"
    table = Table(title=f"Candidates on 1 thread (x1) or more, {how}: {what}")
    # Without power figures, nothing is known of energy.
    has_energy = any(contestant.power_w is not None for contestant in contest.contestants)
    columns = ["candidate", "regions", "predicted", "measured", "time / winner's"]
    columns += ["modelled mJ"] * has_energy
    for name in columns:
        table.add_column(name, justify="left" if name == "candidate" else "right")
    won = contest.results.get(contest.winner.name)
    for contestant in contest.contestants:
        timed = contest.results.get(contestant.name)
        predicted = contestant.expected_us(contest.goals[0])
        cells = [
            ("* " if contestant.name == contest.winner.name else "  ") + contestant.name,
            str(len(contestant.regions)),
            "-" if predicted is None else f"{predicted / 1000:.3f}",
            "not timed" if timed is None else f"{timed.median_us / 1000:.3f}",
            "" if timed is None or won is None else str(ratio(timed.medians_us, won.medians_us)),
        ]
        if has_energy:
            energy_mj = None if timed is None else contestant.energy_mj(timed.median_us)
            cells.append("" if energy_mj is None else f"{energy_mj:.3g}")
        table.add_row(*cells)
    return table


def _search(search: Searched) -> str:
    """How good the search's best is, within the costs it was given."""
    gap = (
        "there is no bound"
        if search.gap is None
        else f"within {100 * search.gap:.1f} % of the bound"
    )
    ended = {
        "optimal": "nothing can be better by more",
        "settled": "nothing better was found for long",
        "budget": "its time was up",
    }[search.ended]
    return f"search on {_threads(search.threads)}: {gap}, within the cost model; {ended}"


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


def _front(result: CompileResult) -> Table:
    """The placements to choose from."""
    table = Table(
        title="The front: none of these is beaten in both latency and energy; "
        f"--placement {result.out}/{FRONT}#NUMBER builds another"
    )
    columns = ("number", "candidate", "threads", "regions", "measured ms", "modelled mJ")
    for name in columns:
        table.add_column(name, justify="left" if name == "candidate" else "right")
    for entry in result.front.entries if result.front is not None else ():
        table.add_row(
            str(entry.number),
            entry.name,
            str(entry.placement.threads),
            str(len(entry.placement.regions)),
            f"{entry.measured_us / 1000:.3f}",
            f"{entry.modelled_mj:.3g}",
        )
    return table


def _print_kinds(placement: Placement, costs: CostTable, is_elsewhere: bool) -> None:
    """For each kind of operator: where it went, and what its operators add to a run."""
    from tdse.cost.table import MEASURED, UNKNOWN

    columns = {target: i for i, target in enumerate(costs.targets)}
    kind = {op.index: op.label.partition(":")[2] for op in placement.ops}
    where = Counter((kind[op], target) for op, target in placement.assignment.items())
    times = {name: np.zeros(len(columns) + 1) for name in kind.values()}
    predicted = False
    unknown: Counter[tuple[str, str]] = Counter()
    for row, op in enumerate(costs.ops):
        chosen = columns[placement.assignment[op]]
        times[kind[op]] += np.append(costs.cost_us[row], costs.cost_us[row, chosen])
        predicted |= costs.source[row][chosen] != MEASURED
        unknown.update((t, kind[op]) for t, i in columns.items() if costs.source[row][i] == UNKNOWN)
    kinds = sorted(times, key=lambda name: -times[name][0])
    table = Table(title="What runs where: what operators add to a run, us")
    table.add_column("operators")
    for target in columns:
        table.add_column(f"on {target}", justify="right")
    for target in columns:
        table.add_column(f"us if all on {target}", justify="right")
    table.add_column("us as placed", justify="right")
    shown = kinds if len(kinds) <= _MOST_KINDS + 1 else kinds[:_MOST_KINDS]
    groups = {name: [name] for name in shown}
    if len(shown) < len(kinds):
        groups[f"{len(kinds) - len(shown)} more kinds"] = kinds[len(shown) :]
    for title, members in groups.items():
        counts = [sum(where[name, target] for name in members) for target in columns]
        *sums, placed_us = np.sum([times[name] for name in members], axis=0)
        why = [
            "unknown" if any(unknown[t, name] for name in members) else "cannot" for t in columns
        ]
        table.add_row(
            title,
            *(str(n) if n else "" for n in counts),
            *(f"{us:.1f}" if np.isfinite(us) else w for us, w in zip(sums, why, strict=True)),
            f"{placed_us:.1f}",
        )
    out = console()
    out.print(table)
    if predicted and not is_elsewhere:
        out.print("some times are not measured but predicted: the budget was short")
    for target in columns:
        count = sum(unknown[target, name] for name in kinds)
        if count:
            out.print(
                f"{count} operators were not measured on {target}, and so are not placed there: "
                "the budget was short; give a longer --budget, what was measured is kept"
            )


def bench(report: Report) -> None:
    """Print times, regions and correctness."""
    out = console()
    what = "streams, from one result to the next" if report.streamed else "whole calls"
    table = Table(title=f"{report.model}: {what}, in turns, {report.launches} process launches")
    for name in ("", "median ms", "p90", "p99", "time / tdse", "load ms", "first ms", "memory MB"):
        table.add_column(name, justify="left" if not name else "right")
    for row in report.rows:
        if row.result is not None and row.alone is not None:
            table.add_row(row.name, *_cells(row.result, row.alone, row.against))
    out.print(table)
    out.print("load, first call and memory: in a process of its own, imports included")
    for row in report.rows:
        if row.result is None:
            out.print(f"{row.name}: not timed: {row.why_not}")
    regions = sorted(report.regions, key=lambda region: -region.median_us)
    table = Table(title=f"{len(regions)} regions, measured inside the module")
    for name in ("region", "ops", "median us", "share"):
        table.add_column(name, justify="left" if name == "region" else "right")
    for region in regions[:_MOST_REGIONS]:
        table.add_row(
            region.name, str(region.ops), f"{region.median_us:.1f}", f"{region.share:.1%}"
        )
    rest = regions[_MOST_REGIONS:]
    if rest:
        table.add_row(
            f"{len(rest)} more",
            str(sum(region.ops for region in rest)),
            f"{sum(region.median_us for region in rest):.1f}",
            f"{sum(region.share for region in rest):.1%}",
        )
    out.print(table)
    check = report.correctness
    out.print(f"results against LiteRT on {check.inputs} inputs: {check.ours}")
    if check.litert_itself is not None:
        out.print(f"LiteRT's reference kernels against its default ones: {check.litert_itself}")
    elif not check.ours.is_exact:
        out.print("LiteRT's reference kernels cannot run this model")
    out.print(
        f"largest element of the first output agrees on {check.argmax_agrees} of {check.inputs}"
    )
    best = report.best_litert
    if best is not None:
        out.print(f"against LiteRT at its best ({best.name}): {best.against} times as fast")


def bench_json(report: Report) -> dict[str, Any]:
    """The report as plain values; times in microseconds."""
    best = report.best_litert
    check = report.correctness
    return {
        "model": report.model,
        "streamed": report.streamed,
        "launches": report.launches,
        "contenders": [_row_json(row) for row in report.rows],
        "best_litert": None
        if best is None or best.against is None
        else {
            "name": best.name,
            "speedup": best.against.value,
            "low": best.against.low,
            "high": best.against.high,
        },
        "regions": [asdict(region) for region in report.regions],
        "correctness": {
            "inputs": check.inputs,
            "ours": asdict(check.ours),
            "litert_itself": None if check.litert_itself is None else asdict(check.litert_itself),
            "argmax_agrees": check.argmax_agrees,
        },
    }


def _cells(result: Result, alone: Result, against: Ratio | None) -> list[str]:
    laps = alone.laps
    return [
        f"{result.median_us / 1000:.3f}",
        f"{result.percentile_us(90) / 1000:.3f}",
        f"{result.percentile_us(99) / 1000:.3f}",
        str(against),
        f"{np.median([lap.load_us for lap in laps]) / 1000:.1f}",
        f"{np.median([lap.first_us for lap in laps]) / 1000:.2f}",
        f"{np.median([lap.resident_bytes for lap in laps]) / 1e6:.1f}",
    ]


def _row_json(row: Row) -> dict[str, Any]:
    if row.result is None or row.alone is None or row.against is None:
        return {"name": row.name, "why_not": row.why_not}
    laps = row.alone.laps
    return {
        "name": row.name,
        "median_us": row.result.median_us,
        "launch_medians_us": row.result.medians_us,
        "p90_us": row.result.percentile_us(90),
        "p99_us": row.result.percentile_us(99),
        "time_over_ours": [row.against.value, row.against.low, row.against.high],
        "load_us": float(np.median([lap.load_us for lap in laps])),
        "first_us": float(np.median([lap.first_us for lap in laps])),
        "resident_bytes": int(np.median([lap.resident_bytes for lap in laps])),
    }
