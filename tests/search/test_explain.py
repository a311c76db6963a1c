"""Why no placement is possible: minimal conflicts, small changes, and words."""

import dataclasses
import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import SHAPES, make_instance
from problems import random_problem, simple_problem, two_devices
from test_statement import untimed, valid_variants

from tdse.search import explain as explain_module
from tdse.search.constraints import Constraints
from tdse.search.demands import LIMITS, OF_USERS, Kind, demands_of, limit_of, with_limit, without
from tdse.search.explain import UndecidedError, explain

KIBI = 1024


def words(problem):
    error = explain(problem).error()
    assert (error.what, error.where) == ("no placement is possible", "")
    return error.why, error.hint


def can_be_met(problem):
    """By a solver that knows nothing of demands as assumptions."""
    return len(Constraints(problem, 0).seeds(1)) == 1


def tight(seed, n_ops, n_devices, shape):
    """Tight, and with every third operator pinned somewhere at random."""
    problem = make_instance(seed, n_ops, n_devices, shape=shape, tight=True, n_models=1 + seed % 2)
    chance = np.random.default_rng(seed)
    pins = chance.integers(0, problem.n_variants, n_ops)
    keep = chance.random(n_ops) < 0.7
    return dataclasses.replace(problem, pins=np.where(keep, problem.pins, pins))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 16), st.integers(1, 4), st.sampled_from(SHAPES)
)  # fmt: skip
def test_conflicts_are_minimal_and_the_change_suffices(seed, n_ops, n_devices, shape):
    problem = tight(seed, n_ops, n_devices, shape)
    conflict = explain(problem)
    assert (conflict is None) == can_be_met(problem)
    if conflict is None:
        return
    demands = set(demands_of(problem))
    for core in conflict.cores:
        # What operators can run as is a fact of the models, also for how long they take.
        others = {one for one in demands if one.kind is not Kind.LEGALITY} - set(core)
        assert not can_be_met(without(problem, others))
        for one in core:
            assert can_be_met(without(problem, demands - set(core) | {one}))
    assert can_be_met(without(problem, conflict.drop))
    assert conflict.why and conflict.hint
    for one in conflict.drop:
        assert not can_be_met(without(problem, set(conflict.drop) - {one}))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 5), st.integers(1, 3), st.sampled_from(SHAPES))
def test_the_change_is_the_smallest(seed, n_ops, n_devices, shape):
    problem = untimed(tight(seed, n_ops, n_devices, shape))
    conflict = explain(problem)
    assert (conflict is None) == bool(valid_variants(problem))
    if conflict is None or not all(one.kind in OF_USERS for one in conflict.drop):
        return
    users = [one for one in demands_of(problem) if one.kind in OF_USERS]
    fewer = itertools.combinations(users, len(conflict.drop) - 1)
    assert not any(valid_variants(without(problem, some)) for some in fewer)
    assert valid_variants(without(problem, conflict.drop))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_pins_and_legality_against_brute_force(seed, n_ops, single):
    chance = np.random.default_rng(seed)
    cost_us = np.where(chance.random((n_ops, 2)) < 0.4, math.inf, 1.0)
    pins = np.where(chance.random(n_ops) < 0.2, chance.integers(0, 2, n_ops), -1)
    problem = simple_problem(
        cost_us, random_problem(seed, n_ops).links, pins=pins, single_region=[False, single]
    )
    assert (explain(problem) is None) == bool(valid_variants(problem))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(2, 12))
def test_a_limit_that_is_too_little_is_only_just(seed, n_ops):
    problem = tight(seed, n_ops, 2, "branches")
    conflict = explain(problem)
    for one in conflict.drop if conflict else ():
        if one.kind in LIMITS:
            others = without(problem, set(conflict.drop) - {one})
            low = explain_module._too_little(problem, one, conflict.drop)
            assert low >= limit_of(problem, one)
            assert not can_be_met(with_limit(others, one, low))
            assert can_be_met(with_limit(others, one, low * 1.0101))


def chain(**more):
    return simple_problem([[1, 1], [1, math.inf], [1, 1]], [(0, 1), (1, 2)], **more)


def test_a_request_that_can_be_met_needs_no_explanation():
    assert explain(chain(pins=[1, -1, 1])) is None
    assert explain(simple_problem([], [])) is None


def test_a_pin_to_where_the_operator_cannot_run():
    problem = chain(labels=["4:add", "5:softmax", "6:mul"], pins=[-1, 1, -1])
    assert words(problem) == (
        "5:softmax is pinned to llvm and can run only on litert",
        "change the pin of 5:softmax",
    )


def test_all_operators_that_can_run_nowhere():
    cost = [[math.inf, math.inf], [1, math.inf], [math.inf, 1]]
    problem = simple_problem(cost, [(0, 1), (1, 2)], pins=[-1, 1, 0])
    why, hint = words(problem)
    assert why == (
        "op 0 can run on none of litert, llvm, op 1 is pinned to llvm and can run only on litert, "
        "op 2 is pinned to litert and can run only on llvm"
    )
    assert hint == "change the pin of op 1, op 2, and allow another target for op 0"
    assert [len(core) for core in explain(problem).cores] == [1, 2, 2]


def test_two_parts_of_one_region():
    problem = simple_problem([[1, 1]] * 3, [(0, 1)], pins=[1, -1, 1], single_region=[False, True])
    why, hint = words(problem)
    assert why == (
        "only one region is allowed on llvm, op 0 is pinned to llvm, op 2 is pinned to llvm"
    )
    assert re.fullmatch("change the pin of op [02]", hint)


def test_a_region_that_something_must_part():
    cost = [[math.inf, 1], [1, math.inf], [math.inf, 1]]
    problem = simple_problem(cost, [(0, 1), (1, 2)], single_region=[False, True])
    assert words(problem) == (
        "only one region is allowed on llvm, op 0 can run only on llvm, "
        "op 1 can run only on litert, op 2 can run only on llvm",
        "use llvm for fewer operators",
    )


def test_regions_that_would_wait_for_each_other():
    # 0, 3 and 4 are one region, 1, 2 and 5 the other: 0 feeds 1, and 2 feeds 3.
    problem = simple_problem(
        [[1, 1, 1]] * 6,
        [(0, 1), (0, 4), (2, 3), (2, 5), (3, 4), (1, 5)],
        devices=["free", "a", "b"],
        pins=[1, 2, 2, 1, 1, 2],
        single_region=[False, True, True],
    )
    why, _ = words(problem)
    assert why.startswith("only one region is allowed on a, only one region is allowed on b, op")
    one = dataclasses.replace(problem, single_region=[False, True, False])
    assert explain(one) is None


def test_operators_that_must_part_and_cannot():
    problem = two_devices(
        [[1, math.inf], [1, 1]], [(0, 1)], forbidden_pairs=[(0, 1)], device_pins=[-1, 0]
    )
    why, hint = words(problem)
    assert why == (
        "op 0 and op 1 must not share a device, op 0 can run only on cpu, op 1 is pinned to cpu"
    )
    assert hint in ("change the pin of op 1", "let op 0 and op 1 share a device")


def test_no_room_for_constants():
    problem = two_devices(
        [[1, 1]] * 8,
        [(op, op + 1) for op in range(7)],
        pins=[1] * 8,
        labels=[f"{op}:conv2d" for op in range(8)],
        parameter_bytes=[100 * KIBI] * 8,
        parameter_capacity_bytes=[np.inf, 350 * KIBI],
        single_region=[False, True],
    )
    conflict = explain(problem)
    # Any four are too many; to make room, five must go.
    assert re.fullmatch(
        r"npu holds 350 KiB of constants and would need 400 KiB, but "
        r"\d:conv2d, \d:conv2d, \d:conv2d, \d:conv2d are pinned to npu",
        conflict.why,
    )
    assert len(conflict.drop) == 5
    only = np.array([[math.inf, 1]] * 8)
    alone = dataclasses.replace(
        problem, cost_us=only, cost_low_us=only, cost_high_us=only, pins=[-1] * 8
    )
    why, hint = words(alone)
    assert why.endswith("can run only on npu")
    # Within a hundredth, 800.
    assert hint.startswith("give npu room for more than 79")
    assert hint.endswith("KiB of constants")


def test_no_room_in_a_memory():
    problem = two_devices(
        [[1, 1]] * 2, [(0, 1)], device_pins=[1, 1],
        parameter_bytes=[3 * KIBI, 4 * KIBI], memory_bytes=[np.inf, 5 * KIBI],
    )  # fmt: skip
    why, hint = words(problem)
    assert why == (
        "the memory of npu has 5 KiB and would need 7 KiB, op 0 is pinned to npu, "
        "op 1 is pinned to npu"
    )
    assert re.fullmatch("change the pin of op [01]", hint)


def test_no_link():
    problem = two_devices(
        [[1, 1]] * 2, [(0, 1)], pins=[1, 0], link_us_per_byte=[[0, 0], [np.inf, 0]]
    )
    why, hint = words(problem)
    assert why == (
        "there is no link from the memory of npu to the memory of cpu, op 0 is pinned to npu, "
        "op 1 is pinned to cpu"
    )
    assert re.fullmatch("change the pin of op [01]", hint)


def test_a_prefix_that_is_broken_into():
    problem = two_devices([[1, 1], [1, 1]], [(0, 1)], pins=[0, 1], prefix=[False, True])
    assert words(problem)[0] == (
        "an operator may run on npu only if all that it reads from do, op 0 is pinned to cpu, "
        "op 1 is pinned to npu"
    )


def test_too_late():
    problem = two_devices([[3000, 1], [2000, 1]], [(0, 1)], pins=[0, 0], deadline_us=[4000])
    conflict = explain(problem)
    assert conflict.why == (
        "model must be done within 4 ms, op 0 is pinned to cpu, op 1 is pinned to cpu"
    )
    assert len(conflict.drop) == 1
    slow = two_devices([[3000, 3000], [2000, 2000]], [(0, 1)], deadline_us=[4000])
    why, hint = words(slow)
    assert why == "model must be done within 4 ms"
    assert hint.startswith("give model more than 4.9") and hint.endswith(
        "from its start to its end"
    )


def test_too_often():
    problem = two_devices([[30, 40]] * 4, [], period_us=[50])
    why, hint = words(problem)
    assert why == "model must run every 50 us"
    # Two on each device take 80; sums of three on the first and one on the second, 90.
    assert hint.startswith("leave more than 7") and "from one run of model to the next" in hint
    assert can_be_met(dataclasses.replace(problem, period_us=[80]))


def test_too_much_energy():
    problem = two_devices(
        [[10, 10]] * 3, [], energy_uj=[[500, 700]] * 3, active_w=[1, 2], energy_budget_uj=1200
    )
    why, hint = words(problem)
    # At least 510 each.
    assert why == "a run may take no more than 1.2 mJ"
    assert hint.startswith("raise the energy budget above 1.5")


def test_conflicts_that_have_nothing_in_common_are_all_told():
    problem = two_devices([[1, 1]] * 4, [], pins=[0, 0, 1, 1], forbidden_pairs=[(0, 1), (2, 3)])
    conflict = explain(problem)
    assert len(conflict.cores) == 2
    assert "; besides, " in conflict.why
    assert len(conflict.drop) == 2


def test_many_operators_of_which_the_same_is_said():
    problem = two_devices(
        [[1, 1]] * 40, [], pins=[1] * 40, parameter_bytes=[1] * 40,
        parameter_capacity_bytes=[np.inf, 30],
    )  # fmt: skip
    why, hint = words(problem)
    assert why.startswith("npu holds 30 bytes of constants and would need 31 bytes, but op ")
    assert why.endswith(" and 25 more are pinned to npu")
    assert hint.startswith("change the pin of ") and hint.endswith("and 4 more")


def test_z3_gives_up_in_words(monkeypatch):
    monkeypatch.setattr(explain_module, "_FIRST_CONFLICTS", 1)
    with pytest.raises(UndecidedError, match="could not be decided: Z3 gave up: "):
        explain(make_instance(27, 200, shape="branches", tight=True))
