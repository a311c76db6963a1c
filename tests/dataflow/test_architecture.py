"""Descriptions of accelerators: units, faults that name the field, and dMazeRunner's form."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from examples import ARCHITECTURE

from tdse.dataflow.architecture import Architecture, load_architecture
from tdse.dataflow.vary import grid, parse_varied
from tdse.errors import PlatformError, UsageError

TEXT = """\
pes = 256
rf_bytes = 512
spm_kib = 128
element_bytes = 2
clock_mhz = 500
dma_clock_mhz = 3200
dma_init_cycles = 291
dma_cycles_per_byte = 0.24

[energy_pj]
mac = 0.075
rf = 0.96
noc = 2
spm = 13.5
dram = 200
"""
ARCH_SPEC = {
    "arch_details": {
        "pe_pipelined": True,
        "pe_pipeline_stages": 1,
        "data_type_size_in_bytes": 2,
        "dma_init_cycles": 291,
        "dma_cycles_per_byte": 0.24,
        "dma_frequency": 3200,
        "dataflow_accel_frequency": 500,
        "rf_energy": 0.96,
        "communication_energy": 2,
        "spm_energy": 13.5,
        "dram_energy": 200,
        "mac_energy": 0.075,
    },
    "arch_basic": {
        "CGRA_SIZE": 256,
        "RF_SIZE": 512,
        "BYTES_PER_DATA": 2,
        "TOTAL_BANKS_IN_SPM": 32,
        "TOTAL_BYTES_IN_BANK": 2048,
    },
}


def _load(folder: Path, text: str, name: str = "mine.toml") -> Architecture:
    path = folder / name
    path.write_text(text)
    return load_architecture(path)


def test_toml_and_dmazerunners_form_say_the_same(tmp_path: Path) -> None:
    expected = ARCHITECTURE.model_copy(update={"name": "mine"})
    assert _load(tmp_path, TEXT) == expected
    assert _load(tmp_path, json.dumps(ARCH_SPEC), "mine.json") == expected
    assert _load(tmp_path, expected.model_dump_json(), "other.json") == expected


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("pes = 256", "pes = 0", "pes: must be at least 1, not 0"),
        ("spm_kib = 128", "spm_bytes = 128", "spm_bytes: is not a known key"),
        ("rf_bytes = 512", "rf_kib = 1", "rf_kib: is not a known key, did you mean spm_kib?"),
        ("rf_bytes = 512", 'rf_bytes = "512 B"', "rf_bytes: must be a whole number, not '512 B'"),
        ("clock_mhz = 500", "clock_mhz = -5", "clock_mhz: must be more than 0, not -5"),
        ("dram = 200", "", "energy_pj.dram: is missing"),
        ("rf_bytes = 512", "rf_bytes = 4", "rf_bytes is 4, too small for one element of each"),
        ("spm_kib = 128", "spm_kib = 8", "spm_kib is 8, too small for one bank of 2048 bytes"),
        ("spm_kib = 128", "spm_kib = nan", "spm_kib"),
        ("pes = 256", "pes = ", "Invalid value"),
    ],
)
def test_faults_name_the_field(tmp_path: Path, old: str, new: str, why: str) -> None:
    with pytest.raises(PlatformError) as raised:
        _load(tmp_path, TEXT.replace(old, new))
    assert why in str(raised.value)


def test_faults_of_dmazerunners_form(tmp_path: Path) -> None:
    spec = json.loads(json.dumps(ARCH_SPEC))
    spec["arch_basic"]["CGRA_SIZ"] = spec["arch_basic"].pop("CGRA_SIZE")
    with pytest.raises(PlatformError, match=r"arch_basic\.CGRA_SIZE: is missing"):
        _load(tmp_path, json.dumps(spec), "a.json")
    spec = json.loads(json.dumps(ARCH_SPEC))
    spec["arch_details"]["data_type_size_in_bytes"] = 4
    with pytest.raises(PlatformError, match="data_type_size_in_bytes and BYTES_PER_DATA differ"):
        _load(tmp_path, json.dumps(spec), "a.json")


def test_energies_grow_as_in_dmazerunners_study() -> None:
    # Its tables for 16 B and 1 KiB, 16 and 512 KiB; both were made by hand.
    small = ARCHITECTURE.resized(pes=256, rf_bytes=16, spm_kib=16.0).energy_pj
    large = ARCHITECTURE.resized(pes=256, rf_bytes=1024, spm_kib=512.0).energy_pj
    assert (small.rf, small.spm) == pytest.approx((0.03, 4.0))
    assert (large.rf, large.spm) == pytest.approx((1.92, 30.375))


def test_sizes_to_vary() -> None:
    assert parse_varied(["spm_kib=16..100", "pes=64,96"]) == {
        "spm_kib": (16, 32, 64),
        "pes": (64, 96),
    }
    points = grid(ARCHITECTURE, {"spm_kib": (8, 128)})
    assert [sizes["spm_kib"] for sizes, _ in points] == [8.0, 128.0]
    assert "spm_kib is 8, too small" in str(points[0][1])
    assert isinstance(points[1][1], Architecture)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("spm=1", "'spm' cannot be varied"),
        ("rf_byte=1", "did you mean rf_bytes?"),
        ("pes=", "'' is no range of whole numbers"),
        ("pes=8..4", "the last not below the first"),
        ("pes=0..4", "sizes must be at least 1"),
        ("pes=1.5", "'1.5' is no range of whole numbers"),
    ],
)
def test_what_cannot_be_varied(text: str, why: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_varied([text])
    assert why in str(raised.value)
