"""Artefacts that are damaged or made for another environment: none of their code is loaded."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from tdse.errors import ArtefactError
from tdse.runtime.artefact import METADATA, MODULE, PLACEMENT, write_json
from tdse.runtime.metadata import sealed

pytestmark = pytest.mark.tvm
Damage = Callable[[bytes, random.Random], bytes]


def _refusal(directory: Path, loaded_modules: list[Path]) -> str:
    """What ``load`` says; none of the artefact's code was loaded then."""
    with pytest.raises(ArtefactError) as error:
        tdse.load(directory)
    assert loaded_modules == []
    line = str(error.value)
    assert "\n" not in line and line.startswith(str(directory))
    return line


def _changed(directory: Path, **values: Any) -> None:
    """Give keys of the metadata other values, as another tdse would have written them."""
    fields = json.loads((directory / METADATA).read_text())
    write_json(directory / METADATA, sealed({**fields, **values}, directory))


def _flip_bit(data: bytes, generator: random.Random) -> bytes:
    changed = bytearray(data)
    changed[generator.randrange(len(data))] ^= 1 << generator.randrange(8)
    return bytes(changed)


def _overwrite(data: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(data))
    noise = generator.randbytes(generator.randint(1, 64))
    return (data[:start] + noise + data[start + len(noise) :])[: len(data)]


def _cut_off(data: bytes, generator: random.Random) -> bytes:
    return data[: generator.randrange(len(data))]


def _cut_out(data: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(data))
    return data[:start] + data[start + generator.randint(1, 64) :]


def _lengthen(data: bytes, generator: random.Random) -> bytes:
    start = generator.randrange(len(data) + 1)
    return data[:start] + generator.randbytes(generator.randint(1, 64)) + data[start:]


DAMAGES: tuple[Damage, ...] = (_flip_bit, _overwrite, _cut_off, _cut_out, _lengthen)


@pytest.mark.parametrize("name", [MODULE, PLACEMENT, METADATA])
def test_70_damaged_files_of_each_kind(
    name: str, copied: Path, small_artefact: Path, loaded_modules: list[Path]
) -> None:
    generator = random.Random(f"damage to {name}")
    whole = (small_artefact / name).read_bytes()
    reference = tdse.load(small_artefact)
    inputs = reference.random_inputs(seed=0)
    for i in range(70):
        loaded_modules.clear()
        (copied / name).write_bytes(DAMAGES[i % len(DAMAGES)](whole, generator))
        try:
            model = tdse.load(copied)
        except ArtefactError as error:
            assert loaded_modules == []
            assert name in str(error) and "\n" not in str(error)
            continue
        # Only what means the same, such as other white space in the metadata, may be taken.
        assert model.metadata == reference.metadata
        for ours, right in zip(model.run(inputs), reference.run(inputs), strict=True):
            assert np.array_equal(ours, right)


@pytest.mark.parametrize("name", [MODULE, PLACEMENT, METADATA])
def test_files_that_are_missing(name: str, copied: Path, loaded_modules: list[Path]) -> None:
    (copied / name).unlink()
    assert f"the artefact has no {name}" in _refusal(copied, loaded_modules)
    (copied / name).mkdir()
    assert f"the artefact has no {name}" in _refusal(copied, loaded_modules)


def test_a_file_of_another_artefact(copied: Path, loaded_modules: list[Path]) -> None:
    (copied / MODULE).write_bytes(b"\x7fELF of another build")
    line = _refusal(copied, loaded_modules)
    assert "model.so is damaged: its sha256 is" in line
    assert line.endswith("; copy the artefact again, or compile the model again")


def test_a_newer_format(copied: Path, loaded_modules: list[Path]) -> None:
    write_json(copied / METADATA, {"schema": "tdse.metadata/6", "unknown": [1, 2]})
    assert _refusal(copied, loaded_modules).endswith(
        "the artefact was made by a newer tdse: its metadata have format 6, this tdse reads "
        "format 5; update tdse"
    )


def test_an_older_format(copied: Path, loaded_modules: list[Path]) -> None:
    write_json(copied / METADATA, {"schema": "tdse.metadata/4"})
    assert "by an older tdse" in _refusal(copied, loaded_modules)


def test_a_newer_tdse(copied: Path, loaded_modules: list[Path]) -> None:
    _changed(copied, tdse="99.0.0")
    line = _refusal(copied, loaded_modules)
    assert f"a newer tdse: it was made by 99.0.0, this is {tdse.__version__}" in line


def test_needs_are_those_of_the_regions(small_artefact: Path) -> None:
    """One region is LiteRT's, the other one is of kernels, which need nothing of TVM."""
    fields = json.loads((small_artefact / METADATA).read_text())
    assert fields["region_kinds"] == ["litert", "tvm"]
    assert fields["needs"] == {"ai-edge-litert": metadata.version("ai-edge-litert")}


@pytest.mark.parametrize(
    ("name", "version"), [("apache-tvm", "0.26.1"), ("ai-edge-litert", "2.4.0")]
)
def test_other_libraries(name: str, version: str, copied: Path, loaded_modules: list[Path]) -> None:
    _changed(copied, needs={name: version})
    line = _refusal(copied, loaded_modules)
    assert f"it was made with {name} {version}, installed is {metadata.version(name)}" in line


def test_libraries_that_are_missing(copied: Path, loaded_modules: list[Path]) -> None:
    _changed(copied, needs={"ai-edge-litert": "2.3.0", "npu-runtime": "1.2"})
    line = _refusal(copied, loaded_modules)
    assert line.endswith(
        'the artefact needs npu-runtime 1.2: it is not installed; pip install "npu-runtime"'
    )


def test_a_patch_release_makes_no_difference(copied: Path) -> None:
    _changed(copied, needs={"apache-tvm": "0.27.9", "ai-edge-litert": "2.3.99"})
    tdse.load(copied)


def test_another_processor(copied: Path, loaded_modules: list[Path]) -> None:
    cpu = json.loads((copied / METADATA).read_text())["cpu"]
    assert cpu["features"]
    _changed(copied, cpu={**cpu, "features": ["amx_fp99", *cpu["features"], "sve9"]})
    assert "its kernels may use amx_fp99, sve9, which this machine has not" in _refusal(
        copied, loaded_modules
    )
    _changed(copied, cpu={**cpu, "isa": "riscv64"})
    assert f"it is for riscv64, this machine is {cpu['isa']}" in _refusal(copied, loaded_modules)


def test_all_faults_of_the_metadata_are_told(copied: Path, loaded_modules: list[Path]) -> None:
    fields = json.loads((copied / METADATA).read_text())
    fields["threads"] = "two"
    fields["files"]["../../elsewhere.so"] = "0" * 64
    del fields["inputs"]
    write_json(copied / METADATA, fields)
    line = _refusal(copied, loaded_modules)
    assert "threads: must be a whole number, not 'two'" in line
    assert "files.../../elsewhere.so: is not a known key" in line
    assert "inputs: is missing" in line


@pytest.mark.parametrize("name", [MODULE, PLACEMENT, METADATA])
def test_a_link_that_leads_out(name: str, copied: Path, loaded_modules: list[Path]) -> None:
    outside = copied.parent / name
    (copied / name).rename(outside)
    (copied / name).symlink_to(outside)
    assert f"{name} is a link that leads out of the artefact" in _refusal(copied, loaded_modules)


def test_links_that_stay_inside(copied: Path) -> None:
    (copied / MODULE).rename(copied / "data")
    (copied / MODULE).symlink_to("data")
    (copied.parent / "current").symlink_to(copied)
    tdse.load(copied.parent / "current")


def test_loading_imports_no_compiler(small_artefact: Path) -> None:
    code = (
        "import sys, tdse\n"
        f"tdse.load({str(small_artefact)!r})\n"
        "heavy = {'tvm', 'tvm_ffi', 'ai_edge_litert', 'z3', 'xgboost', 'pydantic'}\n"
        "assert not heavy & set(sys.modules)\n"
        "assert 'libtvm' not in open('/proc/self/maps').read()\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_licences_of_what_is_inside(small_artefact: Path) -> None:
    licences = {
        row["part"]: row["licence"] for row in tdse.load(small_artefact).metadata["licences"]
    }
    assert licences == {
        "the model's operators and weights": "that of the model file",
        "kernels generated by Apache TVM and tdse": "Apache-2.0",
    }
