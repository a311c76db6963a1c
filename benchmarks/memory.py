"""What memory a compiled model takes, against LiteRT's interpreter with the same model.

    python benchmarks/memory.py MODEL_OR_DIRECTORY... [--objective latency|throughput] [--json FILE]

Each figure is the growth of a fresh process over three runs, from the moment its libraries were
loaded: numpy and tdse's runtime for a module, numpy and LiteRT's for the interpreter. Resident
memory holds pages of files, which the system may drop and processes share; private memory does not.
Allowed is 1.1 times LiteRT's growth and the executor's memory for tensors between regions.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tdse.measure.memory import measure_memory

_ALLOWED = 1.1
_REPEATS = 3
_MIB = 2**20

_INTERPRETER = """
import json, sys
import numpy as np
from ai_edge_litert.interpreter import Interpreter
from tdse.measure.memory_worker import status

before = status()
interpreter = Interpreter(model_path=sys.argv[1], num_threads=1)
interpreter.allocate_tensors()
for _ in range(3):
    for detail in interpreter.get_input_details():
        interpreter.set_tensor(detail["index"], np.zeros(detail["shape"], detail["dtype"]))
    interpreter.invoke()
after = status()
print(json.dumps({
    "resident": after["VmRSS"] - before["VmRSS"],
    "private": after["RssAnon"] - before["RssAnon"],
}))
"""


@dataclass(frozen=True)
class Row:
    """Growth in bytes, the median of fresh processes."""

    model: str
    resident: int
    litert_resident: int
    private: int
    litert_private: int
    arena: int

    @property
    def of_allowed(self) -> float:
        """Resident growth over what is allowed."""
        return self.resident / (_ALLOWED * self.litert_resident + self.arena)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help=".tflite files, or directories")
    parser.add_argument("--objective", choices=("latency", "throughput"), default="latency")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    rows = [_row(model, arguments.objective) for model in _models(arguments.models)]
    _print(rows)
    if arguments.json:
        figures = [asdict(row) | {"of_allowed": row.of_allowed} for row in rows]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def _models(given: list[Path]) -> Iterator[Path]:
    for path in given:
        yield from sorted(path.rglob("*.tflite")) if path.is_dir() else [path]


def _row(model: Path, objective: str) -> Row:
    with tempfile.TemporaryDirectory(prefix="tdse-memory-") as scratch:
        out = Path(scratch) / "out"
        tdsec = Path(sys.executable).parent / "tdsec"
        subprocess.run(
            [str(tdsec), str(model), "-o", str(out), "--objective", objective, "--json"],
            check=True,
            capture_output=True,
        )
        ours = [measure_memory(out / "model.so") for _ in range(_REPEATS)]
    theirs = [_interpreter(model) for _ in range(_REPEATS)]
    return Row(
        model.stem,
        _median([one.resident_bytes - one.runtime_bytes for one in ours]),
        _median([one["resident"] for one in theirs]),
        _median([one.private_bytes - one.runtime_private_bytes for one in ours]),
        _median([one["private"] for one in theirs]),
        ours[0].arena_bytes,
    )


def _interpreter(model: Path) -> dict[str, int]:
    process = subprocess.run(
        [sys.executable, "-c", _INTERPRETER, str(model)],
        check=True,
        capture_output=True,
        text=True,
    )
    reading: dict[str, int] = json.loads(process.stdout)
    return reading


def _median(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]


def _print(rows: list[Row]) -> None:
    table = Table(title="growth of a fresh process, MiB")
    for column in ("model", "resident", "LiteRT", "private", "LiteRT", "between", "of allowed"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        sizes = (row.resident, row.litert_resident, row.private, row.litert_private, row.arena)
        table.add_row(row.model, *(f"{size / _MIB:.1f}" for size in sizes), f"{row.of_allowed:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
