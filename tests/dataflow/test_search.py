"""The exact search against all mappings, what it proves, and how it says that there are none."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from examples import ARCHITECTURE, CONV5_2, SMALL, layers, resnet18
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.dataflow import native
from tdse.dataflow.layer import Layer
from tdse.dataflow.mapping import check_mapping
from tdse.dataflow.native import OBJECTIVES, Objective, Pruning
from tdse.dataflow.search import (
    dmazerunner_mappings,
    find_mapping,
    padded_sizes,
    pruned_mappings,
    value_of,
)
from tdse.errors import TdseError, UsageError


@settings(max_examples=60, deadline=None)
@given(layers(most=6), st.sampled_from(OBJECTIVES))
def test_the_exact_search_finds_the_best_of_all(layer: Layer, objective: Objective) -> None:
    best, _ = native.exhaust(layer, SMALL, Pruning())
    found = find_mapping(layer, SMALL, objective)
    assert found.value == best[objective].value
    assert found.gap == 0.0
    check_mapping(layer, SMALL, found.mapping)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_padding_finds_the_best_of_all_padded_layers(data: st.DataObject) -> None:
    layer = data.draw(layers(most=5))
    objective = data.draw(st.sampled_from(OBJECTIVES))
    found = find_mapping(layer, SMALL, objective, padded=True)
    check_mapping(layer, SMALL, found.mapping)
    values = []
    for sizes in itertools.product(*map(padded_sizes, layer.sizes)):
        padded = Layer("padded", sizes, layer.stride, layer.dilation, layer.input_size)
        padded = Layer(**{**vars(padded), "layout": layer.layout})
        best, _ = native.exhaust(padded, SMALL, Pruning())
        values.append(best[objective].value)
    assert found.value == min(values)
    assert found.value <= find_mapping(layer, SMALL, objective).value


def test_every_tiling_is_looked_at() -> None:
    layer = Layer("small", (1, 1, 4, 2, 1, 2, 1, 1))
    best, count = native.exhaust(layer, ARCHITECTURE, Pruning())
    per_loop = [
        [f for f in itertools.product(range(1, size + 1), repeat=4) if np.prod(f) == size]
        for size in layer.sizes
    ]
    every = [np.array(tiling).T for tiling in itertools.product(*per_loop)]
    assert count.mappings == len(every)
    for objective in OBJECTIVES:
        figures, _ = native.evaluate(layer, ARCHITECTURE, np.array(every), objective=objective)
        cycles, energy = figures[:, 0], figures[:, 1]
        values = {"edp": cycles * energy, "energy": energy, "cycles": cycles}[objective]
        assert best[objective].value == values.min()


def test_a_search_that_runs_out_of_time_says_how_far_it_may_be() -> None:
    layer = resnet18()[0]
    exact, cut = (find_mapping(layer, ARCHITECTURE, seconds=s) for s in (60.0, 0.0))
    assert cut.bound is not None and cut.gap is not None
    assert 0 < cut.bound <= exact.value <= cut.value
    assert cut.gap > 0


def test_a_search_without_time_may_find_nothing() -> None:
    # Too small for the mappings that are tried first.
    layer = Layer("one", (1, 1, 7, 1, 1, 1, 1, 1))
    with pytest.raises(TdseError, match="one: no mapping was found in time: 0 seconds are over"):
        find_mapping(layer, ARCHITECTURE, seconds=0.0)


def test_the_same_is_found_every_time() -> None:
    one, other = (find_mapping(CONV5_2, ARCHITECTURE) for _ in range(2))
    assert one.mapping == other.mapping


def test_objectives_are_what_they_say() -> None:
    layer = resnet18()[6]
    found = {objective: find_mapping(layer, ARCHITECTURE, objective) for objective in OBJECTIVES}
    for objective in OBJECTIVES:
        values = [value_of(objective, one.figures) for one in found.values()]
        assert found[objective].value == min(values)


def test_a_pruning_that_leaves_nothing_is_explained() -> None:
    layer = Layer("one", (1, 1, 7, 1, 1, 1, 1, 1))
    with pytest.raises(UsageError) as raised:
        pruned_mappings(layer, ARCHITECTURE, Pruning(least_pe_use=0.8))
    assert str(raised.value) == (
        "one: no mapping is valid: no mapping uses 80% of 256 PEs; without least_pe_use some do; "
        "lower the threshold that is named, or leave it out"
    )


def test_dmazerunners_thresholds_end_by_being_none() -> None:
    layer = Layer("one", (1, 1, 7, 1, 1, 1, 1, 1))
    with pytest.raises(UsageError, match="no mapping is valid"):
        dmazerunner_mappings(layer, ARCHITECTURE)
