"""Compile and time every model given, with the commands a user types, and judge the figures.

    python benchmarks/acceptance.py MODEL_OR_DIRECTORY... [--objective latency|throughput]
        [--targets litert,llvm] [--against litert] [--budget 60] [--launches 5] [--json FILE]
        [--demand NAME=SPEEDUP]...

A model passes if ``tdsec`` and ``tdse bench`` work on it, its results are as near to LiteRT's as
they must be, and it is not slower than LiteRT with the thread count that suits LiteRT best, nor
than the other runtimes that it is timed against, each with the whole model. A model that LiteRT
itself cannot run passes if ``tdsec`` ends in one clear line. For throughput, streams of tdse are
held against calls of the others, and besides against copies of LiteRT, one for each core. How far
predictions are off is told as it is, and relative to how far that of LiteRT's whole model is off: a
machine's pace changes from minute to minute. At the end, a row for each model as README has them.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from model_files import model_files
from rich.console import Console
from rich.table import Table

# Never slower: this much of a speedup is demanded of every model...
LEAST_SPEEDUP = 0.97
# ... and of models faster than SMALL_US, for which the call itself counts, this much time.
SMALL_US = 500.0
MOST_SLOWER_US = 15.0


@dataclass(frozen=True)
class Outcome:
    """One model's figures; times in microseconds."""

    model: str
    passed: bool
    why: str
    compile_s: float
    regions: int = 0
    ops: str = ""
    lanes: int = 0
    predicted_us: float | None = None
    peer_predicted_us: float | None = None
    ours_us: float = 0.0
    peer_us: float = 0.0
    peer: str = ""
    others_us: dict[str, float] | None = None
    speedup: float = 0.0
    low: float = 0.0
    high: float = 0.0
    region_difference: str = ""
    output_difference: str = ""
    litert_itself: str = ""
    argmax_agrees: str = ""
    against_copies: str = ""

    @property
    def off(self) -> float | None:
        """By what share of the prediction the measured time differs from it."""
        return self.ours_us / self.predicted_us - 1.0 if self.predicted_us else None

    @property
    def off_relative(self) -> float | None:
        """Likewise, with both divided by the best other runtime's."""
        if not self.predicted_us or not self.peer_predicted_us:
            return None
        pace = self.peer_us / self.peer_predicted_us
        return self.ours_us / (self.predicted_us * pace) - 1.0


def main() -> int:
    """Entry point; status 1 if a model does not pass."""
    arguments = _arguments()
    models = model_files(arguments.models)
    demands = dict(text.split("=") for text in arguments.demand)
    outcomes = []
    console = Console(stderr=True)
    for i, model in enumerate(models):
        least = float(demands.get(model.stem, LEAST_SPEEDUP))
        outcome = judge(model, arguments, least)
        outcomes.append(outcome)
        verdict = "ok" if outcome.passed else f"FAILED: {outcome.why}"
        console.print(
            f"{i + 1}/{len(models)} {model.name}: {outcome.speedup:.2f} "
            f"[{outcome.low:.2f}, {outcome.high:.2f}] {verdict}",
            highlight=False,
        )
        if arguments.json:
            Path(arguments.json).write_text(json.dumps([asdict(o) for o in outcomes], indent=1))
    _print(outcomes)
    return 0 if all(outcome.passed for outcome in outcomes) else 1


def judge(model: Path, arguments: argparse.Namespace, least: float) -> Outcome:
    """Compile and time one model."""
    objective = arguments.objective
    with tempfile.TemporaryDirectory(prefix="tdse-acceptance-") as scratch:
        out = Path(scratch) / "out"
        begin = time.monotonic()
        status, made, error = _command(
            *("tdsec", str(model), "-o", str(out)),
            *("--objective", objective, "--budget", str(arguments.budget)),
            *(["--targets", arguments.targets] if arguments.targets else []),
        )
        compile_s = time.monotonic() - begin
        if status != 0:
            return _refused(model, status, error, compile_s)
        status, timed, error = _command(
            *("tdse", "bench", str(out), "--against", arguments.against),
            *("--launches", str(arguments.launches), "--seconds", str(arguments.seconds)),
            *(["--stream"] if objective == "throughput" else []),
        )
        if status != 0:
            return Outcome(model.stem, False, f"tdse bench: {error.splitlines()[-1]}", compile_s)
        placement = json.loads((out / "placement.json").read_text())
        contest = json.loads((out / "metadata.json").read_text())["contest"]
    expected = {row["name"]: row["predicted_us"] for row in contest}
    return _outcome(model, compile_s, objective, least, made, timed, placement, expected)


def _outcome(
    model: Path,
    compile_s: float,
    objective: str,
    least: float,
    made: dict[str, Any],
    timed: dict[str, Any],
    placement: dict[str, Any],
    expected_us: dict[str, float | None],
) -> Outcome:
    rows = {row["name"]: row for row in timed["contenders"] if "median_us" in row}
    ours = rows.pop("tdse")["median_us"]
    calls = [row for name, row in rows.items() if "copies of" not in name]
    best = min(calls, key=lambda row: row["median_us"])
    copies = [row["time_over_ours"] for name, row in rows.items() if "copies of" in name]
    theirs, (speedup, low, high) = best["median_us"], best["time_over_ours"]
    counts: dict[str, int] = {}
    for op in placement["ops"]:
        counts[op["target"]] = counts.get(op["target"], 0) + 1
    check = timed["correctness"]
    faults = []
    if ours > SMALL_US and speedup < least:
        faults.append(f"speedup {speedup:.3f} is below {least}")
    if ours <= SMALL_US and ours - theirs > MOST_SLOWER_US:
        faults.append(f"{ours - theirs:.0f} us slower")
    gap = made["difference_from_litert"]
    if gap["steps"] > 1 or gap["relative"] > 1e-4:
        faults.append(f"a region differs by {_gap(gap)}")
    own, itself = check["ours"], check["litert_itself"]
    if set(counts) == {"litert"} and (own["steps"] or own["relative"]):
        faults.append(f"all on LiteRT, yet the result differs by {_gap(own)}")
    if itself is not None and own["steps"] > max(itself["steps"], 1):
        faults.append(f"differs by {_gap(own)}, LiteRT from itself by {_gap(itself)}")
    if own["relative"] > 1e-4 and (itself is None or own["relative"] > itself["relative"]):
        faults.append(f"differs by {_gap(own)}")
    return Outcome(
        model=model.stem,
        passed=not faults,
        why="; ".join(faults),
        compile_s=compile_s,
        regions=len(placement["regions"]),
        ops=", ".join(f"{n} {target}" for target, n in counts.items()),
        lanes=made["lanes"],
        predicted_us=made["predicted_period_us" if objective == "throughput" else "predicted_us"],
        peer_predicted_us=expected_us.get(best["name"]),
        ours_us=ours,
        peer_us=theirs,
        peer=best["name"],
        others_us={name: row["median_us"] for name, row in rows.items()},
        speedup=speedup,
        low=low,
        high=high,
        region_difference=_gap(gap),
        output_difference=_gap(own),
        litert_itself="" if itself is None else _gap(itself),
        argmax_agrees=f"{check['argmax_agrees']}/{check['inputs']}",
        against_copies=_interval(copies[0]) if copies else "",
    )


def _refused(model: Path, status: int, error: str, compile_s: float) -> Outcome:
    """A model that tdsec refuses is right to be refused if LiteRT cannot run it either."""
    from ai_edge_litert.interpreter import Interpreter

    try:
        interpreter = Interpreter(model_path=str(model))
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (RuntimeError, ValueError):
        one_line = status == 1 and len(error.splitlines()) == 1
        return Outcome(model.stem, one_line, f"LiteRT cannot run it: {error}", compile_s)
    return Outcome(model.stem, False, f"tdsec: {error}", compile_s)


def _command(*words: str) -> tuple[int, dict[str, Any], str]:
    module = {"tdsec": "tdse.cli.tdsec", "tdse": "tdse.cli.main"}[words[0]]
    process = subprocess.run(
        [sys.executable, "-m", module, *words[1:], "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=dict(os.environ),
    )
    value = json.loads(process.stdout) if process.stdout.strip() else {}
    return process.returncode, value, process.stderr.strip()


def _interval(ratio: Sequence[float]) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*ratio)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:+.0f}"


def _gap(gap: dict[str, Any]) -> str:
    if not gap["steps"] and not gap["relative"]:
        return "0"
    parts = [f"{gap['steps']} LSB"] if gap["steps"] else []
    return ", ".join(parts + ([f"{gap['relative']:.0e}"] if gap["relative"] else []))


def _print(outcomes: Sequence[Outcome]) -> None:
    table = Table(title="Time of the best whole-model runtime over tdse's, medians of launches")
    columns = ("model", "compile s", "ops", "regions", "lanes", "tdse ms", "best other ms")
    for name in (*columns, "off %", "relative", "speedup [95 %]", "over copies"):
        table.add_column(name, justify="left" if name in ("model", "ops") else "right")
    for name in ("region diff", "output diff", "LiteRT itself", "argmax", ""):
        table.add_column(name)
    for o in outcomes:
        table.add_row(
            o.model,
            f"{o.compile_s:.0f}",
            o.ops,
            str(o.regions),
            str(o.lanes),
            f"{o.ours_us / 1000:.3f}",
            f"{o.peer_us / 1000:.3f} ({o.peer})",
            _percent(o.off),
            _percent(o.off_relative),
            _interval((o.speedup, o.low, o.high)),
            o.against_copies,
            o.region_difference,
            o.output_difference,
            o.litert_itself,
            o.argmax_agrees,
            "ok" if o.passed else f"FAILED {o.why}",
        )
    console = Console(width=180)
    console.print(table)
    for o in outcomes:
        if o.speedup:
            results = "exact" if o.output_difference == "0" else o.output_difference
            figures = f"{o.peer_us / 1e3:.3f} | {o.ours_us / 1e3:.3f} | "
            figures += _interval((o.speedup, o.low, o.high))
            # As the README has it.
            print(f"| {o.model} | {o.ops} | {o.lanes} | {figures} | {results} |")
    speedups = [o.speedup for o in outcomes if o.speedup]
    if speedups:
        mean = math.exp(sum(map(math.log, speedups)) / len(speedups))
        console.print(f"geometric mean of the speedups: {mean:.3f}, least {min(speedups):.3f}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="+", help=".tflite files, or directories of them")
    parser.add_argument(
        "--objective", choices=("latency", "throughput"), default="latency", help="of tdsec"
    )
    parser.add_argument("--targets", help="of tdsec; all that there are by default")
    parser.add_argument(
        "--against", default="litert", help="of tdse bench: litert, tvm, openvino, with commas"
    )
    parser.add_argument("--budget", type=float, default=60.0, help="of tdsec, seconds")
    parser.add_argument("--launches", type=int, default=5, help="of tdse bench")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed in each launch")
    parser.add_argument("--json", help="write the figures there too")
    parser.add_argument(
        "--demand", action="append", default=[], metavar="NAME=SPEEDUP", help="of one model"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
