"""The costs in C++ against their specification, and what they mean."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from examples import ARCHITECTURE, layers, mappings
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.dataflow import native
from tdse.dataflow.figures import FIGURES, Figures
from tdse.dataflow.layer import LOOPS, Layer
from tdse.dataflow.mapping import Mapping, order_for
from tdse.dataflow.native import OBJECTIVES
from tdse.dataflow.reference import _reuses, evaluate, orders
from tdse.dataflow.search import evaluate_mapping, value_of


def _equal(one: Figures, other: Figures) -> None:
    for name in FIGURES:
        # Energies are summed in another order.
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-12, abs=1.0)
        if name.endswith("cycles"):
            assert getattr(one, name) == getattr(other, name), name


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_specification_and_the_library_agree(data: st.DataObject) -> None:
    layer = data.draw(layers())
    mapping = data.draw(mappings(layer))
    _equal(evaluate_mapping(layer, ARCHITECTURE, mapping), evaluate(layer, ARCHITECTURE, mapping))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_order_is_better_than_those_that_are_tried(data: st.DataObject) -> None:
    layer = data.draw(layers())
    mapping = data.draw(mappings(layer))
    tiling = np.array([mapping.tiling])
    every = [
        evaluate(layer, ARCHITECTURE, Mapping(mapping.tiling, each))
        for each in orders(mapping.tiling[0], mapping.tiling[1])
    ]
    for objective in OBJECTIVES:
        figures, reused = native.evaluate(layer, ARCHITECTURE, tiling, objective=objective)
        best = min(value_of(objective, one) for one in every)
        assert value_of(objective, Figures.of(figures[0])) <= best * (1 + 1e-9) + 1
        named = Mapping(mapping.tiling, (order_for(reused[0][0]), order_for(reused[0][1])))
        assert evaluate_mapping(layer, ARCHITECTURE, named) == Figures.of(figures[0])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from((1, 2, 3)), min_size=6, max_size=6))
def test_orders_give_all_reuse_there_is(drawn: list[int]) -> None:
    g, m, c, ox, fx, fy = drawn
    factors = (g, 1, m, c, ox, 1, fx, fy)
    tried = {tuple(_reuses(factors, dram)) for dram, _ in orders(factors, (1,) * 8)}
    loops = [loop for loop, factor in zip(LOOPS, factors, strict=True) if factor > 1]
    rest = tuple(loop for loop in LOOPS if loop not in loops)
    every = itertools.permutations(loops)
    assert tried == {tuple(_reuses(factors, (*rest, *order))) for order in every}


def test_what_one_pe_does() -> None:
    # A product of 1x2 by 2x3 on one PE, all in its registers: nothing overlaps.
    layer = Layer("product", (1, 1, 3, 2, 1, 1, 1, 1))
    ones = (1,) * 8
    mapping = Mapping((ones, ones, layer.sizes, ones), (order_for(-1), order_for(-1)))
    figures = evaluate(layer, ARCHITECTURE, mapping)
    # Six operands of weights come over a network that carries one a cycle, then six products.
    assert figures.pass_cycles == 6 + 6
    # The output is counted both ways: a burst each, at 3200 MHz, in cycles at 500 MHz.
    burst = [math.ceil((291 + 0.24 * 2 * n) * 500 / 3200) for n in (3, 2, 6)]
    assert figures.cycles == 2 * burst[0] + burst[1] + burst[2]
    assert figures.mac_pj == pytest.approx(6 * 0.075)
    assert figures.rf_pj == pytest.approx(6 * 4 * 0.96)
    assert figures.noc_pj == pytest.approx((2 * 3 + 2 + 6) * 2)
    assert figures.spm_pj == pytest.approx((2 * 3 + 2 + 6) * 13.5)
    assert figures.dram_pj == pytest.approx((3 + 2 + 6) * 200)


def test_a_dilated_window_reaches_further() -> None:
    layer = Layer("dilated", (1, 1, 1, 1, 4, 4, 3, 3), dilation=(2, 2))
    assert layer.elements(1, layer.sizes) == 8 * 8
