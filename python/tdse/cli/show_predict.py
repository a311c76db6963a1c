"""How predictions and the formulas behind them are printed for people."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from tdse.cli.common import console, say
from tdse.dry_run import DryRun
from tdse.flydels import FlydelReport
from tdse.outlook import SOURCES, Choice, Estimate, Outlook
from tdse.predict import Forecast

# With fewer samples, the share of truths in a 90 % interval is itself unsure by more than 3 % (the
# standard deviation of a binomial).
_FEW = 100
_TEXTS = ("choice", "ops on", "times of ops")


def forecast(result: Forecast) -> None:
    """Print a table for each platform, and what the figures rest on."""
    out = console()
    out.print(
        f"{result.model}: {result.ops} ops, {result.macs / 1e6:.1f} million MACs, "
        f"{result.parameter_bytes / 1e6:.2f} MB of parameters"
    )
    for outlook in result.platforms:
        out.print(_choices(outlook))
        for name, why_not in outlook.left_out:
            out.print(f"{name}: {why_not}")
        for basis in outlook.basis:
            if 0 < basis.records < _FEW:
                out.print(
                    f"{basis.variant}: its cost model rests on {basis.records} records only; "
                    "`tdse profile` adds more"
                )
        out.print("peak memory is modelled: that of a process which loads and runs the artefact")
        sums = [basis.variant for basis in outlook.basis if not basis.chains]
        if sums:
            out.print(
                f"{', '.join(sums)}: too few chains of operators were measured, so a region is "
                "taken for their sum, and its interval leaves out what it gains or loses by that"
            )


def dry_run(found: DryRun) -> None:
    """Print what a compilation would do."""
    say(f"{found.model}: {found.ops} operators; nothing is measured or built now")
    if found.elsewhere:
        say(f"it would be compiled without being timed: {found.elsewhere}")
    if found.times_of:
        say(f"times are those of {found.times_of}")
    if found.whole_reason:
        say(f"it would be placed whole on litert: {found.whole_reason}")
    for one in found.variants:
        say(f"{one.variant}: {one.missing} of {one.ops} distinct operators are not measured yet")
    say(
        f"measuring them takes about {found.measuring_s:.0f} s, all of it about "
        f"{found.seconds:.0f} s, on a quiet machine"
    )
    if found.trials:
        say(
            f"of that, tuning tries {found.trials} ways to build {found.kernels} kernels, "
            f"{found.tuning_s:.0f} s"
        )
    best, litert = found.expected, found.litert
    if best is None:
        say(f"what may be gained is not known: {found.unknown}")
    elif litert is None or found.gain is None:
        say(f"expected: {best.name}, {_expected_text(best)}")
    elif best.name == litert.name:
        say(f"expected: nothing is gained on {best.name}, {_expected_text(best)}")
    else:
        say(
            f"expected: {best.name}, {_expected_text(best)}; {found.gain:.2f} times as fast as "
            f"{litert.name}, {_expected_text(litert)}"
        )


def _expected_text(choice: Choice) -> str:
    sources = ", ".join(f"{n} {source}" for source, n in choice.ops.items() if n)
    return f"{choice.latency_us / 1000:.3f} ms (times of operators: {sources})"


def flydels(kind: str, reports: Sequence[FlydelReport]) -> None:
    """Print the flydels of a kind, with their errors."""
    for report in reports:
        say(f"{kind}, {report.dtype or 'every type'}, on {report.variant}:")
        say(f"    {report.formula}")
        say(
            f"    {report.parameters} parameters from {report.samples} samples, "
            f"off by {report.median_error:.1%} (median), {report.p90_error:.1%} (90th percentile)"
        )


def _choices(outlook: Outlook) -> Table:
    table = Table(title=f"Predicted on {outlook.platform} ({outlook.machine})")
    # A figure that is not known of any choice has no column.
    has_energy = any(choice.energy_mj for choice in outlook.choices)
    columns = [
        "choice",
        "ops on",
        "regions",
        "ms",
        "90 % interval",
        "times of ops",
        "utilised",
        "peak MB",
    ]
    columns += ["mJ"] * has_energy
    for name in columns:
        table.add_column(name, justify="left" if name in _TEXTS else "right")
    for choice in outlook.choices:
        cells = _cells(choice)
        if has_energy:
            cells.append(_energy(choice.energy_mj))
        table.add_row(*cells)
    return table


def _cells(choice: Choice) -> list[str]:
    interval = "not known"
    if choice.low_us is not None and choice.high_us is not None:
        interval = f"{choice.low_us / 1000:.3f} to {choice.high_us / 1000:.3f}"
    return [
        choice.name,
        ", ".join(f"{target} {ops}" for target, ops in choice.targets.items()),
        str(choice.regions),
        f"{choice.latency_us / 1000:.3f}",
        interval,
        ", ".join(f"{choice.ops[source]} {source}" for source in SOURCES if choice.ops[source]),
        "-" if choice.utilisation is None else f"{choice.utilisation:.0%}",
        f"{choice.peak_memory_bytes.value / 1e6:.1f}",
    ]


def _energy(estimate: Estimate | None) -> str:
    return "not known" if estimate is None else f"{estimate.value:.3g} {estimate.source}"
