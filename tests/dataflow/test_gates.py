"""dMazeRunner's own figures, exactly."""

from __future__ import annotations

import pytest
from examples import (
    ARCHITECTURE,
    CONV5_2,
    FIXED,
    MEMORIES,
    RESNET18_AUTO,
    resized,
    resnet18,
    tilings,
)

from tdse.dataflow import native
from tdse.dataflow.figures import Figures
from tdse.dataflow.layer import Layer
from tdse.dataflow.native import Pruning
from tdse.dataflow.search import dmazerunner_mappings, find_mapping

_PRUNING = Pruning(0.8, 0.8, 0.5, no_spatial_reduction=True, whole_filters=True)


@pytest.mark.parametrize(("name", "tiling", "expected"), FIXED, ids=[name for name, *_ in FIXED])
def test_energies_of_fixed_mappings(
    name: str, tiling: list[list[int]], expected: tuple[float, ...]
) -> None:
    figures, _ = native.evaluate(CONV5_2, ARCHITECTURE, tilings([tiling]), objective="energy")
    one = Figures.of(figures[0])
    have = (one.mac_pj, one.rf_pj, one.noc_pj, one.spm_pj, one.dram_pj, one.energy_pj)
    assert tuple(float(f"{value:.16g}") for value in have) == expected


@pytest.mark.parametrize("layer", resnet18(), ids=lambda layer: layer.name)
def test_the_same_mappings_are_left_and_the_best_cost_the_same(layer: Layer) -> None:
    count, edp, energy_pj, cycles = RESNET18_AUTO[layer.name]
    best = dmazerunner_mappings(layer, ARCHITECTURE)
    assert best["edp"].count.mappings == count
    assert best["edp"].figures.edp == edp
    assert best["energy"].figures.energy_pj == energy_pj
    assert best["cycles"].figures.cycles == cycles


@pytest.mark.parametrize(("spm_kib", "rf_bytes", "spm_pj", "rf_pj", "count", "edp"), MEMORIES)
def test_sizes_of_memories(
    spm_kib: float, rf_bytes: int, spm_pj: float, rf_pj: float, count: int, edp: float | None
) -> None:
    architecture = resized(spm_kib, rf_bytes, spm_pj, rf_pj)
    best, counted = native.exhaust(CONV5_2, architecture, _PRUNING)
    assert counted.mappings == count
    assert (best["edp"].value if best else None) == edp


@pytest.mark.parametrize("layer", resnet18()[4:], ids=lambda layer: layer.name)
def test_nothing_that_dmazerunner_finds_is_better(layer: Layer) -> None:
    found = find_mapping(layer, ARCHITECTURE)
    assert found.gap == 0.0
    assert found.figures.edp <= RESNET18_AUTO[layer.name][1]
