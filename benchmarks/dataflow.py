"""What dMazeRunner says, against the model here: python benchmarks/dataflow.py DATA

DATA is a directory with dMazeRunner's ``arch_spec.json`` and ``resnet18.json``, and figures of its
runs: ``resnet18_summary.csv``, ``dse_output_layer_5.csv``, ``dse_verify_layers_5_4.csv``,
``yang_reference_Resnet_Conv5_2.csv`` and ``energy_validation_rerun_here.csv``. Prints how many are
reproduced exactly, how far the exact search is below, and how fast both are.
"""

from __future__ import annotations

import ast
import csv
import sys
import time
from pathlib import Path

import numpy as np

from tdse.dataflow import native
from tdse.dataflow.architecture import Architecture, load_architecture
from tdse.dataflow.layer import convolution
from tdse.dataflow.model_json import read_model_json
from tdse.dataflow.native import Pruning
from tdse.dataflow.search import dmazerunner_mappings, find_mapping

CONV5_2 = convolution("conv5_2", batch=4, channels=(512, 512), output=(7, 7), kernel=(3, 3))
PRUNING = Pruning(0.8, 0.8, 0.5, no_spatial_reduction=True, whole_filters=True)
COMPONENTS = ("MAC", "RF", "NOC", "SPM", "DRAM", "total")
LEVELS = ("DRAM", "SPM", "RF", "Spatial")
# Of an access, by the size in bytes and in KiB, as in dMazeRunner's study of memory sizes.
RF_PJ = {16: 0.03, 32: 0.06, 64: 0.12, 128: 0.24, 256: 0.48, 512: 0.96, 1024: 1.92}
SPM_PJ = {16: 4.0, 32: 6.0, 64: 9.0, 128: 13.5, 256: 20.25, 512: 30.375, 1024: 45.5625}
# The spreadsheet that dMazeRunner writes keeps so many digits.
DIGITS = ".16g"


def main() -> None:
    """Print all comparisons."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    data = Path(sys.argv[1])
    architecture = load_architecture(data / "arch_spec.json")
    fixed_mappings(data, architecture)
    resnet18(data, architecture)
    memory_sizes(data, architecture)
    speed(architecture)


def fixed_mappings(data: Path, architecture: Architecture) -> None:
    """21 mappings of one layer, every component of energy."""
    given = _rows(data / "yang_reference_Resnet_Conv5_2.csv")
    tilings = [
        [[1, *ast.literal_eval(row[f"{level}_tiling"])] for level in LEVELS] for row in given
    ]
    figures, _ = native.evaluate(CONV5_2, architecture, np.array(tilings), objective="energy")
    names = ("mac_pj", "rf_pj", "noc_pj", "spm_pj", "dram_pj", "energy_pj")
    columns = [native.FIGURES.index(name) for name in names]
    exact = 0
    expected = _rows(data / "energy_validation_rerun_here.csv")
    for row, have in zip(expected, figures[:, columns].tolist(), strict=True):
        want = [row[f"energy_{name}_dMazeRunner"] for name in COMPONENTS]
        exact += [float(f"{value:{DIGITS}}") for value in have] == [float(value) for value in want]
    print(f"fixed mappings: {exact} of {len(expected)} exact in every component")


def resnet18(data: Path, architecture: Architecture) -> None:
    """Counts and optima under dMazeRunner's pruning, and the exact optimum of EDP."""
    expected = {row["layer"]: row for row in _rows(data / "resnet18_summary.csv")}
    pruned_s = exact_s = 0.0
    for layer in read_model_json(data / "resnet18.json"):
        row = expected[layer.name]
        best, found = dmazerunner_mappings(layer, architecture), find_mapping(layer, architecture)
        pruned_s, exact_s = pruned_s + best["edp"].seconds, exact_s + found.seconds
        same = (
            best["edp"].count.mappings == int(row["n_eval"])
            and best["edp"].value == float(row["min_edp"])
            and best["energy"].value == float(row["min_energy_pJ"])
            and best["cycles"].value == float(row["min_cycles"])
        )
        share = found.value / best["edp"].value
        print(
            f"{layer.name}: {best['edp'].count.mappings} mappings, "
            f"{'all exact' if same else 'DIFFERS'}; exact search: EDP {share:.4f} of that, "
            f"gap {found.gap:.1%}, {found.seconds:.3f} s"
        )
    print(f"ResNet-18: pruned {pruned_s:.3f} s, exact {exact_s:.3f} s")


def memory_sizes(data: Path, architecture: Architecture) -> None:
    """49 sizes of memories: how many mappings are left, and the best EDP where it was rerun."""
    rerun = {
        (row["spm_kB"], row["rf_B"]): row["here_edp"]
        for row in _rows(data / "dse_verify_layers_5_4.csv")
    }
    counts = edps = compared = 0
    rows = _rows(data / "dse_output_layer_5.csv")
    for row in rows:
        spm_kib, rf_bytes = int(row["spm_size"]), int(row["rf_size"])
        energy = {"rf": RF_PJ[rf_bytes], "spm": SPM_PJ[spm_kib]}
        resized = architecture.model_copy(
            update={
                "rf_bytes": rf_bytes,
                "spm_kib": float(spm_kib),
                "energy_pj": architecture.energy_pj.model_copy(update=energy),
            }
        )
        best, count = native.exhaust(CONV5_2, resized, PRUNING)
        counts += count.mappings == int(row["total_evaluated"])
        key = (row["spm_size"], row["rf_size"])
        if key in rerun:
            compared += 1
            edps += (best["edp"].value if best else None) == (float(rerun[key] or 0) or None)
    print(f"memory sizes: {counts} of {len(rows)} counts, {edps} of {compared} EDPs exact")


def speed(architecture: Architecture) -> None:
    """Mappings per second on one core."""
    best, _ = native.exhaust(CONV5_2, architecture, PRUNING)
    tilings = np.array([best["edp"].tiling] * 500_000, np.int32)
    for words, orders in (
        ("with their best orders", None),
        ("with given orders", np.tile(np.arange(8, dtype=np.int8), (len(tilings), 2, 1))),
    ):
        begin = time.perf_counter()
        native.evaluate(CONV5_2, architecture, tilings, orders)
        per_s = len(tilings) / (time.perf_counter() - begin)
        print(f"{per_s / 1e6:.2f} million mappings per second {words}")


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


if __name__ == "__main__":
    main()
