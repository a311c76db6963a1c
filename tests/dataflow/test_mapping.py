"""Mappings as files and as text, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from examples import ARCHITECTURE, CONV5_2, FIXED, layers, mappings
from hypothesis import given, settings
from hypothesis import strategies as st

from tdse.dataflow.mapping import Mapping, check_mapping, order_for, read_mapping
from tdse.errors import UsageError

_TILING = tuple((1, *factors) for factors in FIXED[1][1])
MAPPING = Mapping(_TILING, (order_for(0), order_for(2)))  # type: ignore[arg-type]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_mapping_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    mapping = data.draw(mappings(data.draw(layers())))
    path = tmp_path_factory.mktemp("mapping") / "mapping.json"
    path.write_text(mapping.to_json("layer"))
    assert read_mapping(path) == mapping


def test_the_loop_nest() -> None:
    assert MAPPING.loop_nest().splitlines() == [
        "# DRAM",
        "for M in 0..7:",
        "  for C in 0..31:",
        "    # scratchpad",
        "    for Ox in 0..6:",
        "      for Oy in 0..6:",
        "        # PEs, at once",
        "        spread N in 0..3:",
        "          spread M in 0..7:",
        "            spread C in 0..1:",
        "              spread Fy in 0..2:",
        "                # register files",
        "                for M in 0..7:",
        "                  for C in 0..7:",
        "                    for Fx in 0..2:",
    ]


def test_a_valid_mapping_is_not_refused() -> None:
    check_mapping(CONV5_2, ARCHITECTURE, MAPPING)


def test_all_that_is_wrong_is_told() -> None:
    small = ARCHITECTURE.model_copy(update={"pes": 100, "rf_bytes": 400, "spm_kib": 16.0})
    short = Mapping((MAPPING.tiling[0], (1,) * 8, *MAPPING.tiling[2:]), MAPPING.orders)
    with pytest.raises(UsageError) as raised:
        check_mapping(CONV5_2, small, short)
    assert str(raised.value) == (
        "conv5_2: the mapping is not valid: loop Ox runs 1 times, not 7; loop Oy runs 1 times, "
        "not 7; it takes 192 PEs, and pes is 100; a register file holds 448 bytes (16 of output, "
        "48 of input, 384 of weights), and rf_bytes is 400; a tile of the scratchpad holds 20096 "
        "bytes (512 of output, 1152 of input, 18432 of weights) in 11 banks of 2048 bytes, and "
        "half of spm_kib = 16 are 4 banks"
    )


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "invalid JSON"),
        ('{"layer": "a"}', "dram: is missing"),
        (MAPPING.to_json("a").replace('"M": 8', '"M": 0', 1), "must be at least 1, not 0"),
        (MAPPING.to_json("a").replace('"M": 8', '"K": 8', 1), "dram.factors.K"),
        (MAPPING.to_json("a").replace('"G",', "", 1), "dram.order must name each of"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "mapping.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=why):
        read_mapping(path)
