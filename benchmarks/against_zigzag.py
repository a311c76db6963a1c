"""The same mappings in ZigZag and here, and both searches: python benchmarks/against_zigzag.py DATA

DATA is a directory with dMazeRunner's ``arch_spec.json`` and ``resnet18.json``. Needs
``pip install zigzag-dse==3.9.1`` in the environment. For each of five layers of ResNet-18 the
mapping that tdse proves to be the best is given to ZigZag loop by loop, on an accelerator that is
described alike; then ZigZag searches orders for the same spatial mapping. docs/dataflow.md explains
what differs.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from zigzag.api import get_hardware_performance_zigzag
from zigzag.datatypes import LayerDim, LayerOperand
from zigzag.mapping.temporal_mapping import TemporalMapping, TemporalMappingType
from zigzag.stages.mapping.temporal_mapping_generator_stage import TemporalMappingGeneratorStage

from tdse.dataflow.architecture import Architecture, load_architecture
from tdse.dataflow.layer import LOOPS, Layer
from tdse.dataflow.mapping import Mapping
from tdse.dataflow.model_json import read_model_json
from tdse.dataflow.search import LayerResult, find_mapping

LAYERS = ("CONV_2_1a", "CONV_3_1b", "CONV_4_1b", "CONV_5_1a", "CONV_5_1b")
# ZigZag's names of loops and operands.
LOOP = dict(zip(LOOPS, ("G", "B", "K", "C", "OX", "OY", "FX", "FY"), strict=True))
OPERANDS = ("I1", "I2", "O")
MEMORIES = ("rf", "spm", "dram")
# Factors into which ZigZag's LOMA cuts the loops; more take minutes for a layer.
LOOP_FACTORS = 6
BITS = 16


def main() -> None:
    """Print a line for each layer and model, and what both searches found."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit(__doc__)
    logging.disable(logging.CRITICAL)
    data = Path(sys.argv[1])
    architecture = load_architecture(data / "arch_spec.json")
    rows = []
    print(f"{'layer':22}{'model':8}{'MAC':>9}{'RF':>9}{'SPM':>9}{'DRAM':>9}{'NoC':>9} uJ    cycles")
    for layer in read_model_json(data / "resnet18.json"):
        if not layer.name.endswith(LAYERS):
            continue
        found = find_mapping(layer, architecture)
        same = _zigzag(found, architecture, found.mapping)
        searched = _zigzag(found, architecture, None)
        rows.append({"layer": layer.name, "tdse": _own(found), "zigzag": same, "search": searched})
        for name, row in (("tdse", _own(found)), ("ZigZag", same)):
            parts = "".join(f"{row[key]:9.2f}" for key in ("mac", "rf", "spm", "dram", "noc"))
            print(f"{layer.name:22}{name:8}{parts} {row['cycles']:12,.0f}")
        times = f"tdse {found.seconds:.3f} s, ZigZag {searched['seconds']:.1f} s"
        share = f"{same['edp'] / searched['edp']:.2f} of that of ZigZag's own"
        print(f"{layer.name:22}search: {times}; EDP of tdse's mapping in ZigZag is {share}")
    print(json.dumps(rows))


def _own(found: LayerResult) -> dict[str, float]:
    """Microjoules by component, and cycles."""
    figures = found.figures
    energies = {
        "mac": figures.mac_pj,
        "rf": figures.rf_pj,
        "spm": figures.spm_pj,
        "dram": figures.dram_pj,
        "noc": figures.noc_pj,
    }
    return {
        **{name: pj / 1e6 for name, pj in energies.items()},
        "cycles": figures.cycles,
        "edp": figures.edp,
        "seconds": found.seconds,
    }


def _zigzag(
    found: LayerResult, architecture: Architecture, given: Mapping | None
) -> dict[str, float]:
    """What ZigZag says of a mapping, or of the best of its own with the same spatial one."""
    spatial = {
        loop: factor
        for loop, factor in zip(LOOPS, found.mapping.tiling[3], strict=True)
        if factor > 1
    }
    chosen = TemporalMappingGeneratorStage.generate_temporal_mappings
    if given is not None:
        levels = _levels(given)

        def only(self: Any) -> Iterator[TemporalMapping]:
            loops = {LayerOperand(x): [list(level) for level in levels] for x in ("O", "W", "I")}
            yield TemporalMapping(loops, self.layer, TemporalMappingType.EVEN)

        TemporalMappingGeneratorStage.generate_temporal_mappings = only
    try:
        with tempfile.TemporaryDirectory() as directory:
            files = Path(directory) / "accelerator.yaml", Path(directory) / "mapping.yaml"
            files[0].write_text(
                yaml.safe_dump(_accelerator(architecture, spatial), sort_keys=False)
            )
            files[1].write_text(yaml.safe_dump(_spatial_mapping(spatial), sort_keys=False))
            begin = time.perf_counter()
            energy_pj, cycles, evaluations = get_hardware_performance_zigzag(
                _workload(found.layer),
                *map(str, files),
                opt="EDP",
                lpf_limit=LOOP_FACTORS,
                temporal_mapping_type="even",
                dump_folder=str(Path(directory) / "out"),
                loma_show_progress_bar=False,
            )[:3]
            seconds = time.perf_counter() - begin
    finally:
        TemporalMappingGeneratorStage.generate_temporal_mappings = chosen
    evaluation = evaluations[0][1][0][0]
    memory = zip(*evaluation.mem_energy_breakdown.values(), strict=True)
    return {
        "mac": evaluation.mac_energy / 1e6,
        **{name: sum(level) / 1e6 for name, level in zip(MEMORIES, memory, strict=True)},
        "noc": 0.0,
        "cycles": cycles,
        "edp": energy_pj * cycles,
        "seconds": seconds,
    }


def _levels(mapping: Mapping) -> list[list[tuple[LayerDim, int]]]:
    """The loops of register files, scratchpad and DRAM, innermost first."""
    dram, spm, rf, _ = (dict(zip(LOOPS, factors, strict=True)) for factors in mapping.tiling)
    nests = ((rf, LOOPS), (spm, mapping.orders[1]), (dram, mapping.orders[0]))
    return [
        [(LayerDim(LOOP[loop]), factors[loop]) for loop in reversed(order) if factors[loop] > 1]
        for factors, order in nests
    ]


def _accelerator(architecture: Architecture, spatial: dict[str, int]) -> dict[str, Any]:
    """One register file for all operands of a PE, and half of the scratchpad, as tiles have it."""
    dimensions = [f"D{i + 1}" for i in range(len(spatial))]
    energy = architecture.energy_pj
    return {
        "name": "matched",
        "memories": {
            "rf": _memory(architecture.rf_bytes * 8, energy.rf, []),
            "spm": _memory(architecture.spm_kib * 1024 * 8 / 2, energy.spm, dimensions),
            "dram": _memory(1e12, energy.dram, dimensions),
        },
        "operational_array": {
            "input_precision": [BITS, BITS],
            "unit_energy": energy.mac,
            "unit_area": 1,
            "dimensions": dimensions,
            "sizes": list(spatial.values()),
        },
    }


def _memory(bits: float, pj: float, served: list[str]) -> dict[str, Any]:
    """A memory with ports of its own for each operand, so that none waits for another."""
    ports = []
    for operand in OPERANDS:
        ways = [("w", "fh"), ("r", "tl"), *([("w", "fl"), ("r", "th")] if operand == "O" else [])]
        for way, flow in ways:
            ports.append(
                {
                    "name": f"{way}_port_{len(ports) + 1}",
                    "type": {"w": "write", "r": "read"}[way],
                    "bandwidth_min": BITS,
                    "bandwidth_max": BITS,
                    "allocation": [f"{operand}, {flow}"],
                }
            )
    return {
        "size": int(bits),
        "r_cost": pj,
        "w_cost": pj,
        "area": 0,
        "latency": 1,
        "operands": list(OPERANDS),
        "auto_cost_extraction": False,
        "ports": ports,
        "served_dimensions": served,
    }


def _spatial_mapping(spatial: dict[str, int]) -> list[dict[str, Any]]:
    return [
        {
            "name": "default",
            "spatial_mapping": {
                f"D{i + 1}": [f"{LOOP[loop]}, {factor}"]
                for i, (loop, factor) in enumerate(spatial.items())
            },
            "memory_operand_links": {"O": "O", "W": "I2", "I": "I1"},
        }
    ]


def _workload(layer: Layer) -> list[dict[str, Any]]:
    loops = ("N", "M", "C", "Oy", "Ox", "Fy", "Fx")
    sizes = dict(zip(LOOPS, layer.sizes, strict=True))
    return [
        {
            "id": 0,
            "name": layer.name,
            "operator_type": "Conv",
            "equation": "O[b][k][oy][ox]+=W[k][c][fy][fx]*I[b][c][iy][ix]",
            "dimension_relations": [
                f"ix={layer.stride[0]}*ox+1*fx",
                f"iy={layer.stride[1]}*oy+1*fy",
            ],
            "loop_dims": [LOOP[loop] for loop in loops],
            "loop_sizes": [sizes[loop] for loop in loops],
            "operand_precision": {"W": BITS, "I": BITS, "O": BITS, "O_final": BITS},
            "operand_source": {"I": 0, "W": 0},
        }
    ]


if __name__ == "__main__":
    main()
