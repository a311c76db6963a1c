"""The plan's bytes: what Python writes, C++ reads, and no damage to them ends the process."""

from __future__ import annotations

import dataclasses
import json
import struct
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.errors import TargetError
from tdse.runtime import native
from tdse.runtime.plan import (
    BLOB_ALIGNMENT,
    Plan,
    PlanLane,
    PlanRegion,
    PlanTensor,
    Step,
    time_limit_ms,
)

CONSTANT = np.arange(6, dtype=np.float32).tobytes()


def small_plan() -> Plan:
    """Two regions, of which the second has a constant and an intermediate."""
    return Plan(
        tensors=(
            PlanTensor("x", "int8", (1, 6)),
            PlanTensor("mid", "float32", (2, 3)),
            PlanTensor("weights", "float32", (2, 3), CONSTANT),
            PlanTensor("scratch", "float32", (2, 3)),
            PlanTensor("y", "bool", ()),
        ),
        inputs=(0,),
        outputs=(4, 1),
        regions=(
            PlanRegion("first", "litert", 2, b"a model", (0,), (1,)),
            PlanRegion(
                "second",
                "tvm",
                1,
                None,
                (1,),
                (4,),
                (Step("multiply", (1, 2, 3)), Step("any", (3, 4))),
                lanes=(1, 0),
            ),
        ),
        lanes=(PlanLane("big", (0, 1), 50, 1000), PlanLane("little", (), 0)),
    )


PLAN = small_plan()
BYTES = PLAN.to_bytes()


def describe(plan: bytes) -> dict[str, object]:
    """What the C++ side understands of ``plan``."""
    description = json.loads(native.create_executor(plan)["describe"]())
    assert isinstance(description, dict)
    return description


@pytest.mark.parametrize(
    ("expected_us", "lanes", "limit_ms"),
    [
        (1e3, 2, 60_000),  # never within a minute
        (5e6, 2, 500_000),  # a hundred runs
        (1e12, 2, 2**32 - 1),
        (None, 2, 0),
        (1e3, 1, 0),  # the caller's own thread
    ],
)
def test_time_limits(expected_us: float | None, lanes: int, limit_ms: int) -> None:
    assert time_limit_ms(expected_us, lanes) == limit_ms


def test_round_trip() -> None:
    description = describe(BYTES)
    assert description["inputs"] == [{"name": "x", "dtype": "int8", "shape": [1, 6]}]
    assert description["outputs"] == [
        {"name": "y", "dtype": "bool", "shape": []},
        {"name": "mid", "dtype": "float32", "shape": [2, 3]},
    ]
    assert description["lanes"] == [
        {"name": "big", "cpus": [0, 1], "spin_us": 50, "timeout_ms": 1000},
        {"name": "little", "cpus": [], "spin_us": 0, "timeout_ms": 0},
    ]
    assert description["regions"] == [
        {
            "name": "first",
            "kind": "litert",
            "threads": 2,
            "lanes": [0],
            "inputs": [0],
            "outputs": [1],
        },
        {
            "name": "second",
            "kind": "tvm",
            "threads": 1,
            "lanes": [1, 0],
            "inputs": [1],
            "outputs": [4],
        },
    ]
    # Only the intermediate is in the arena: 24 bytes and 64 that may be read after them.
    assert description["arena_bytes"] == 128


@pytest.mark.parametrize(
    "dtype",
    ["bool", "bfloat16"]
    + [f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)]
    + [f"float{bits}" for bits in (16, 32, 64)],
)
def test_element_types(dtype: str) -> None:
    plan = Plan((PlanTensor("x", dtype, (3,)),), (0,), (0,), ())
    assert describe(plan.to_bytes())["inputs"] == [{"name": "x", "dtype": dtype, "shape": [3]}]


def test_element_type_that_cannot_pass() -> None:
    plan = Plan((PlanTensor("x", "string", (3,)),), (0,), (0,), ())
    with pytest.raises(TargetError, match=r"'x' of type string cannot pass between regions"):
        plan.to_bytes()


def test_blobs_are_aligned_and_stored_once() -> None:
    tensors = (
        PlanTensor("a", "int8", (3,), b"abc"),
        PlanTensor("b", "int8", (3,), b"abc"),
        PlanTensor("c", "int8", (3,), b"xyz"),
    )
    data = Plan(tensors, (), (), ()).to_bytes()
    assert data.count(b"abc") == 1
    assert data.index(b"abc") % BLOB_ALIGNMENT == 0
    assert data.index(b"xyz") % BLOB_ALIGNMENT == 0


def test_names_are_escaped_in_the_description() -> None:
    name = 'quote " backslash \\ newline \n \N{SNOWMAN} \N{GRINNING FACE}'
    plan = Plan((PlanTensor(name, "int8", (3,)),), (0,), (), ())
    assert describe(plan.to_bytes())["inputs"] == [{"name": name, "dtype": "int8", "shape": [3]}]


def test_a_plan_cut_off_anywhere_is_an_error() -> None:
    for length in range(len(BYTES)):
        with pytest.raises(TargetError, match="executor plan is malformed"):
            native.create_executor(BYTES[:length])


def test_bytes_after_the_end_are_an_error() -> None:
    with pytest.raises(TargetError, match="bytes follow its end"):
        native.create_executor(BYTES + b"\0")


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(8, len(BYTES) - 1), st.integers(0, 255)), max_size=6))
def test_changed_bytes_are_an_error_or_another_plan(changes: list[tuple[int, int]]) -> None:
    data = bytearray(BYTES)
    for position, value in changes:
        data[position] = value
    check_harmless(bytes(data))


@pytest.mark.parametrize("value", [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x10000])
def test_large_numbers_anywhere_are_harmless(value: int) -> None:
    for position in range(8, len(BYTES) - 3):
        check_harmless(BYTES[:position] + struct.pack("<I", value) + BYTES[position + 4 :])


def check_harmless(data: bytes) -> None:
    """The plan is refused with a TargetError, or read."""
    try:
        executor = native.create_executor(data)
    except TargetError:
        return
    assert executor.kind == native.KIND


def _tensor(index: int, **changes: object) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        tensors = list(plan.tensors)
        tensors[index] = dataclasses.replace(tensors[index], **changes)  # type: ignore[arg-type]
        return dataclasses.replace(plan, tensors=tuple(tensors))

    return change


def _region(index: int, **changes: object) -> Callable[[Plan], Plan]:
    def change(plan: Plan) -> Plan:
        regions = list(plan.regions)
        regions[index] = dataclasses.replace(regions[index], **changes)  # type: ignore[arg-type]
        return dataclasses.replace(plan, regions=tuple(regions))

    return change


def _plan(**changes: object) -> Callable[[Plan], Plan]:
    return lambda plan: dataclasses.replace(plan, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_tensor(0, shape=(-1, 6)), "tensor 'x' has a negative dimension"),
        (_tensor(0, shape=(2**62, 2**62)), "tensor 'x' is too large"),
        (_tensor(0, shape=(0, 2**62)), "tensor 'x' is too large"),
        (_tensor(0, shape=(1,) * 65), "tensor 'x' has too many dimensions"),
        (_tensor(2, constant=CONSTANT[:-1]), "the value of tensor 'weights' is not of the tensor'"),
        (_plan(inputs=(7,)), "an input of the plan is a tensor that does not exist"),
        (_plan(inputs=(0, 0)), "tensor 'x' is an input twice or constant"),
        (_plan(inputs=(2,)), "tensor 'weights' is an input twice or constant"),
        (_plan(inputs=()), "region 'first': input tensor 'x' is not computed before it"),
        (_plan(outputs=(3,)), "output tensor 'scratch' is computed by no region"),
        (_plan(regions=PLAN.regions[::-1]), "region 'second': input tensor 'mid' is not computed"),
        (_region(0, outputs=(1, 1)), "region 'first': output tensor 'mid' has a value already"),
        (_region(0, outputs=(0,)), "region 'first': output tensor 'x' has a value already"),
        (_region(0, outputs=(9,)), "region 'first': an output is a tensor that does not exist"),
        (_region(0, threads=0), "region 'first': a region runs on 1 to 1024 threads"),
        (
            _region(1, steps=(Step("multiply", (0, 2, 4)),)),
            "region 'second': multiply uses tensor 'x', which is not its own",
        ),
        (_region(1, steps=(Step("any", (1, 3)),)), "region 'second': no step computes output"),
        (_region(0, lanes=()), "region 'first': it is on no lane"),
        (_region(0, lanes=(2,)), "region 'first': it is on a lane that does not exist"),
        (_region(0, lanes=(1, 1)), "region 'first': it is on a lane twice"),
        (_plan(lanes=()), "region 'first': it is on a lane that does not exist"),
        (_plan(lanes=(PlanLane("a", (5000,)),)), "lane 'a': there is no CPU 5000"),
        (_plan(lanes=(PlanLane("a", (), 2**31),)), "lane 'a': it spins for more than a second"),
        (_region(1, steps=(Step("any", (1, 99)),)), "an argument of any is a tensor that does"),
    ],
)
def test_parts_that_do_not_fit(change: Callable[[Plan], Plan], message: str) -> None:
    with pytest.raises(TargetError, match="the executor plan is malformed: ") as error:
        native.create_executor(change(PLAN).to_bytes())
    assert message in str(error.value)


def test_wrong_magic() -> None:
    with pytest.raises(TargetError, match="it does not start with TDSEPLAN"):
        native.create_executor(b"\x7fELF" + BYTES)


def test_other_version() -> None:
    data = BYTES[:8] + struct.pack("<I", 1) + BYTES[12:]
    with pytest.raises(TargetError, match="has version 1, this library reads version 4"):
        native.create_executor(data)


@pytest.mark.parametrize(
    "name", [b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"a\xe2\x98"]
)
def test_names_are_text(name: bytes) -> None:
    marker = "n" * len(name)
    data = Plan((PlanTensor(marker, "int8", (3,)),), (0,), (), ()).to_bytes()
    with pytest.raises(TargetError, match="malformed: a name is not text"):
        native.create_executor(data.replace(marker.encode(), name))
