"""What memory a compiled model takes, against LiteRT's interpreter with the same model.

    python benchmarks/memory.py MODEL_OR_DIRECTORY... [--objective latency|throughput] [--json FILE]

Each figure is the growth of the resident memory while the model is loaded and run three times, in a
process that has done so before and still has that model: libraries and what they keep for all
models are there already. Allowed is 1.1 times LiteRT's growth and the executor's memory for tensors
between regions. Targets are LiteRT and LLVM, both with threads as tdsec chooses.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from model_files import model_files
from rich.console import Console
from rich.table import Table

_ALLOWED = 1.1
_MIB = 2**20

# Both print the bytes of one model after the other as JSON.
_TDSE = """
import json, sys
import tdse
from tdse.measure.memory_worker import status

models, grown = [], []
for _ in range(4):
    before = status()["VmRSS"]
    models.append(tdse.load(sys.argv[1]))
    inputs = models[-1].random_inputs(0)
    for _ in range(3):
        models[-1].run(inputs)
    grown.append(status()["VmRSS"] - before)
print(json.dumps([models[0].arena_bytes, *grown[1:]]))
"""
_INTERPRETER = """
import json, sys
from ai_edge_litert.interpreter import Interpreter
from tdse.measure.memory_worker import status
import numpy as np
from tdse.runtime.litert import invoke

models, grown = [], []
for _ in range(4):
    before = status()["VmRSS"]
    models.append(Interpreter(model_path=sys.argv[1], num_threads=1))
    models[-1].allocate_tensors()
    inputs = [np.zeros(d["shape"], d["dtype"]) for d in models[-1].get_input_details()]
    for _ in range(3):
        invoke(models[-1], inputs)
    grown.append(status()["VmRSS"] - before)
print(json.dumps(grown[1:]))
"""


@dataclass(frozen=True)
class Row:
    """Growth in bytes, the median of three loads after the first."""

    model: str
    regions: int
    lanes: int
    ours: int
    litert: int
    between: int

    @property
    def of_allowed(self) -> float:
        """Growth over what is allowed."""
        return self.ours / (_ALLOWED * self.litert + self.between)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="+", type=Path, help=".tflite files, or directories")
    parser.add_argument("--objective", choices=("latency", "throughput"), default="latency")
    parser.add_argument("--json", type=Path, help="write the figures there as well")
    arguments = parser.parse_args()
    rows = [_row(model, arguments.objective) for model in model_files(arguments.models)]
    _print(rows)
    if arguments.json:
        figures = [asdict(row) | {"of_allowed": row.of_allowed} for row in rows]
        arguments.json.write_text(json.dumps(figures, indent=1) + "\n")


def _row(model: Path, objective: str) -> Row:
    with tempfile.TemporaryDirectory(prefix="tdse-memory-") as scratch:
        out = Path(scratch) / "out"
        tdsec = [sys.executable, "-m", "tdse.cli.tdsec", str(model), "-o", str(out)]
        options = ["--objective", objective, "--targets", "litert,llvm", "--json"]
        subprocess.run([*tdsec, *options], check=True, capture_output=True)
        between, *ours = _bytes(_TDSE, out)
        placement = json.loads((out / "placement.json").read_text())
    lanes = {lane for region in placement["regions"] for lane in region["lanes"]}
    litert = _bytes(_INTERPRETER, model)
    return Row(
        model.stem,
        len(placement["regions"]),
        len(lanes),
        int(median(ours)),
        int(median(litert)),
        between,
    )


def _bytes(code: str, what: Path) -> list[int]:
    process = subprocess.run(
        [sys.executable, "-c", code, str(what)], check=True, capture_output=True, text=True
    )
    sizes: list[int] = json.loads(process.stdout)
    return sizes


def _print(rows: list[Row]) -> None:
    table = Table(title="growth of the resident memory, MiB")
    for column in ("model", "regions", "lanes", "tdse", "LiteRT", "between regions", "of allowed"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for row in rows:
        sizes = (f"{size / _MIB:.1f}" for size in (row.ours, row.litert, row.between))
        table.add_row(row.model, str(row.regions), str(row.lanes), *sizes, f"{row.of_allowed:.2f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
