"""How well streams over several lanes are predicted, and how much of the rest is the machine's.

    python benchmarks/streams.py MODEL_OR_DIRECTORY... [--launches 5] [--seconds 2] [--budget 45]
        [--json FILE]

Each model is compiled for throughput. Then, in each of several processes, six contenders take turns
of some 40 ms: the artefact as a stream, loaded again as another, and call by call, LiteRT with one
and with two threads, and two copies of LiteRT with one thread each. What is predicted at compile
time holds for the machine of that moment, and a virtual core may give half of what it gave, or a
quarter. So the prediction is held against the measurement in three ways:

``raw``    as it was made: the period that the contest expected of the winner.

``paired`` as it would be made in the same launch: the predicted time of a run at the launch's pace,
           which is what LiteRT takes over what was predicted of it; times the slowdown side by
           side, anew, from the calls and the other stream. That is how tdsec predicts; the rest is
           the model's.

``beside`` from what the same launch says of the machine, without any prediction: a call of the
           artefact, and by what factor copies of LiteRT slow each other down. Only what differs
           between the interference of our code and LiteRT's is left.

The ``floor`` is by how much the two streams of the same artefact differ: nothing can be nearer.
Calls are held against the prediction of a run, raw and at the launch's pace. Before and after each
launch a loop that needs no memory runs on one thread and on two: what two get done over what one
does is how many *cores* there were. What the hypervisor admits to have taken is in ``/proc/stat``
as *steal*.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from cores import cores
from model_files import model_files
from rich.console import Console
from rich.table import Table

from tdse.graph.reader import read_tflite
from tdse.measure.activations import Array, random_inputs
from tdse.measure.race import Entry, race
from tdse.measure.stats import ratio
from tdse.measure.turn import measuring

_STREAM, _AGAIN, _CALL = "stream", "stream again", "call"
_X1, _X2, _COPIES = "litert x1", "litert x2", "litert copies"


@dataclass(frozen=True)
class Launch:
    """Medians of one process, microseconds; and what the machine gave meanwhile.

    Attributes:
        cores: how many there were, at its beginning and at its end.
        stolen: share of the time of all cores that the hypervisor admits to have taken.
    """

    cores: tuple[float, float]
    stolen: float
    stream_us: float
    again_us: float
    call_us: float
    x1_us: float
    x2_us: float
    copies_us: float


@dataclass(frozen=True)
class Outcome:
    """One model.

    Attributes:
        winner: name of the candidate that was built.
        lanes: that it uses.
        period_us, run_us: predicted of it at compile time; None where nothing was.
        threads: of each lane.
        litert_us: predicted of LiteRT on as many threads.
        contest_us: what the winner's period was in the contest.
        launches: what was measured later.
    """

    model: str
    winner: str
    lanes: int
    period_us: float | None
    run_us: float | None
    threads: int
    litert_us: float | None
    contest_us: float
    launches: Sequence[Launch]

    def off_raw(self) -> list[float]:
        """By what share each launch's stream differs from what was predicted."""
        return [each.stream_us / self.period_us - 1 for each in self.launches if self.period_us]

    def off_paired(self) -> list[float]:
        """Likewise, of the prediction as it would be made in the launch."""
        # lanes * again / call is the slowdown; each lane has one of so many runs.
        return [
            each.stream_us / (run_us * each.again_us / each.call_us) - 1
            for each, run_us in self._runs_at_pace()
        ]

    def off_beside(self) -> list[float]:
        """Likewise, of what calls and copies of LiteRT in the same launch lead to expect."""
        if self.lanes == 1:
            return [each.stream_us / each.call_us - 1 for each in self.launches]
        return [
            each.stream_us / (each.call_us * each.copies_us / each.x1_us) - 1
            for each in self.launches
        ]

    def floor(self) -> list[float]:
        """By what share the two streams of each launch differ."""
        return [each.stream_us / each.again_us - 1 for each in self.launches]

    def off_call(self) -> list[float]:
        """By what share each launch's calls differ from what was predicted of a run."""
        return [each.call_us / self.run_us - 1 for each in self.launches if self.run_us]

    def off_call_at_pace(self) -> list[float]:
        """Likewise, at the launch's pace."""
        return [each.call_us / run_us - 1 for each, run_us in self._runs_at_pace()]

    def _runs_at_pace(self) -> list[tuple[Launch, float]]:
        """Each launch, and what is predicted of a run at its pace."""
        if not self.run_us or not self.litert_us:
            return []
        now_us = [each.x1_us if self.threads == 1 else each.x2_us for each in self.launches]
        paces = [us / self.litert_us for us in now_us]
        return [(each, self.run_us * p) for each, p in zip(self.launches, paces, strict=True)]


def main() -> None:
    """Entry point."""
    arguments = _arguments()
    outcomes = []
    for path in model_files(arguments.models):
        outcomes.append(judge(path, arguments))
        _print(outcomes)
        if arguments.json:
            rows = [asdict(one) for one in outcomes]
            arguments.json.write_text(json.dumps(rows, indent=1) + "\n")


def judge(path: Path, arguments: argparse.Namespace) -> Outcome:
    """Compile a model for throughput, and time it beside LiteRT."""
    with tempfile.TemporaryDirectory(prefix="tdse-streams-") as scratch:
        out = Path(scratch) / "out"
        command = [sys.executable, "-m", "tdse.cli.tdsec", str(path), "-o", str(out)]
        options = ["--objective", "throughput", "--budget", str(arguments.budget)]
        subprocess.run([*command, *options], check=True, stdout=subprocess.DEVNULL)
        metadata = json.loads((out / "metadata.json").read_text())
        litert: dict[str, Any] = {"model": str(path), "copies": 1, "threads": 1}
        entries = [
            *(
                Entry(name, "artefact", {"directory": str(out), "streamed": True})
                for name in (_STREAM, _AGAIN)
            ),
            Entry(_CALL, "artefact", {"directory": str(out), "streamed": False}),
            Entry(_X1, "litert", litert),
            Entry(_X2, "litert", {**litert, "threads": 2}),
            Entry(_COPIES, "litert", {**litert, "copies": 2}),
        ]
        inputs = random_inputs(read_tflite(path), 0)
        with measuring(lambda stage, done, total, detail: None):
            launches = [
                _launch(entries, inputs, arguments.seconds, seed)
                for seed in range(arguments.launches)
            ]
    rows = {row["name"]: row for row in metadata["contest"]}
    winner = next(row for row in rows.values() if row["won"])
    return Outcome(
        model=path.stem,
        winner=winner["name"],
        lanes=metadata["lanes"],
        period_us=metadata["predicted_period_us"],
        run_us=metadata["predicted_us"],
        threads=winner["threads"],
        litert_us=rows[f"litert x{winner['threads']}"]["predicted_us"],
        contest_us=winner["measured_us"],
        launches=launches,
    )


def _launch(entries: Sequence[Entry], inputs: Sequence[Array], seconds: float, seed: int) -> Launch:
    before, stolen, begun = cores(), _stolen_s(), time.monotonic()
    results = race(entries, inputs, launches=1, seconds=seconds, seed=seed)
    taken = (_stolen_s() - stolen) / (time.monotonic() - begun) / (os.cpu_count() or 1)
    names = (_STREAM, _AGAIN, _CALL, _X1, _X2, _COPIES)
    medians = [results[name].median_us for name in names]
    return Launch((before, cores()), taken, *medians)


def _stolen_s() -> float:
    """Seconds that the hypervisor has taken from all cores."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def _print(outcomes: Sequence[Outcome]) -> None:
    table = Table(title="Streams: off their prediction, %: median of launches [least, most]")
    for name in ("model", "winner"):
        table.add_column(name)
    columns = (
        "predicted ms",
        "contest ms",
        "now ms",
        "raw",
        "paired",
        "beside",
        "floor",
        "call",
        "at pace",
        "cores",
    )
    for name in (*columns, "LiteRT's best call / ours", "best copies, too / ours"):
        table.add_column(name, justify="right")
    for one in outcomes:
        ours = [each.stream_us for each in one.launches]
        calls = _best([each.x1_us for each in one.launches], [each.x2_us for each in one.launches])
        every = _best(calls, [each.copies_us for each in one.launches])
        table.add_row(
            one.model,
            one.winner,
            "-" if one.period_us is None else f"{one.period_us / 1e3:.3f}",
            f"{one.contest_us / 1e3:.3f}",
            f"{np.median(ours) / 1e3:.3f}",
            *map(
                _spread,
                (
                    one.off_raw(),
                    one.off_paired(),
                    one.off_beside(),
                    one.floor(),
                    one.off_call(),
                    one.off_call_at_pace(),
                ),
            ),
            "{:.2f} to {:.2f}".format(*_ends([c for each in one.launches for c in each.cores])),
            str(ratio(calls, ours)),
            str(ratio(every, ours)),
        )
    Console(width=200).print(table)


def _ends(values: Sequence[float]) -> tuple[float, float]:
    return min(values), max(values)


def _best(one: list[float], other: list[float]) -> list[float]:
    """The launches of whichever has the smaller median."""
    return min(one, other, key=lambda launches: float(np.median(launches)))


def _spread(shares: Sequence[float]) -> str:
    if not shares:
        return "-"
    middle, low, high = 100 * np.median(shares), 100 * min(shares), 100 * max(shares)
    return f"{middle:+.0f} [{low:+.0f}, {high:+.0f}]"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", help=".tflite files, or directories of them")
    parser.add_argument("--launches", type=int, default=5, help="processes that time a model")
    parser.add_argument("--seconds", type=float, default=2.0, help="timed in each")
    parser.add_argument("--budget", type=float, default=45.0, help="of tdsec, seconds")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    return parser.parse_args()


if __name__ == "__main__":
    main()
