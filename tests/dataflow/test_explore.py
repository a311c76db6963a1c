"""Explorations: totals, fronts, resuming, and the command."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from examples import ARCHITECTURE, resnet18
from test_architecture import TEXT

from tdse.dataflow.explore import Exploration, explore
from tdse.dataflow.network import map_network
from tdse.dataflow.plot import plot
from tdse.errors import UsageError

LAYERS = resnet18()[6:8]
VARIED = {"spm_kib": (8, 64, 128), "rf_bytes": (128, 512)}


def _explore(file: Path | None = None, **changes: object) -> Exploration:
    given = {"layers": LAYERS, "base": ARCHITECTURE, "varied": VARIED, "jobs": 1, **changes}
    return explore(**given, file=file)  # type: ignore[arg-type]


def test_totals_are_of_one_mapping_for_each_layer() -> None:
    result = map_network(resnet18()[4:8], ARCHITECTURE)
    assert [one.layer.instances for one in result.layers] == [1, 3, 1, 3]
    assert result.is_proven
    cycles = [one.figures.cycles * one.layer.instances for one in result.layers]
    energy = [one.figures.energy_pj * one.layer.instances for one in result.layers]
    assert result.latency_us == sum(cycles) / 500
    assert result.edp == sum(cycles) * sum(energy)
    assert result.macs == sum(one.layer.macs * one.layer.instances for one in result.layers)


def test_a_point_is_what_the_network_costs_there() -> None:
    found = _explore()
    assert len(found.points) == 6
    invalid, valid = found.points[:1], [p for p in found.points if p.latency_us is not None]
    assert "spm_kib is 8, too small" in invalid[0].why
    point = next(p for p in valid if p.sizes == (256.0, 128.0, 64.0))
    there = ARCHITECTURE.resized(pes=256, rf_bytes=128, spm_kib=64.0)
    result = map_network(LAYERS, there)
    assert (point.latency_us, point.energy_uj) == (result.latency_us, result.energy_pj / 1e6)
    assert point.area == there.area_proxy


def test_the_front_is_what_no_other_beats() -> None:
    found = _explore()
    costs = {
        i: (p.latency_us, p.energy_uj, p.area)
        for i, p in enumerate(found.points)
        if p.latency_us is not None
    }
    expected = [
        i
        for i, cost in costs.items()
        if not any(
            other != cost and all(a <= b for a, b in zip(other, cost, strict=True))
            for other in costs.values()
        )
    ]
    assert list(found.front) == expected


def test_a_killed_exploration_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    whole = _explore(file)
    lines = file.read_text().splitlines(keepends=True)
    assert len(lines) == 1 + 6
    # As if it had been killed while it wrote the fifth.
    file.write_text("".join(lines[:5]) + lines[5][:20])
    resumed = _explore(file)
    assert resumed.resumed == 4
    strip = [{**vars(p), "seconds": 0} for p in whole.points]
    assert [{**vars(p), "seconds": 0} for p in resumed.points] == strip
    assert resumed.front == whole.front
    assert file.read_text().startswith("".join(lines[:5]))
    assert _explore(file).resumed == 6


def test_the_file_of_another_exploration_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "points.jsonl"
    _explore(file)
    with pytest.raises(UsageError, match="the points are of another exploration"):
        _explore(file, objective="cycles")
    file.write_text("nonsense\n")
    with pytest.raises(UsageError, match="cannot read the points"):
        _explore(file)


def test_processes_find_the_same() -> None:
    one, two = _explore(), _explore(jobs=2)
    assert one.front == two.front
    assert [p.latency_us for p in one.points] == [p.latency_us for p in two.points]


def test_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    plot(_explore(), tmp_path / "front.svg", "two layers")
    assert "two layers" in (tmp_path / "front.svg").read_text()
    with pytest.raises(UsageError, match="the picture cannot be written"):
        plot(_explore(), tmp_path / "none" / "front.svg", "two layers")


def test_a_picture_that_cannot_be_drawn_is_refused_before_the_work(
    tmp_path: Path, branches: Path
) -> None:
    (tmp_path / "a.toml").write_text(TEXT)
    out = tmp_path / "points.jsonl"
    explored = ("--arch", tmp_path / "a.toml", "--vary", "pes=64..128", "--out", out, branches)
    done = _run(*explored, "--plot", tmp_path / "front.nonsense")
    assert done.returncode == 2
    assert "a picture's format is not known" in done.stderr or "matplotlib" in done.stderr
    assert not out.exists()


def _run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tdse.cli.main", "explore", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command(tmp_path: Path, branches: Path) -> None:
    arch, out = tmp_path / "a.toml", tmp_path / "points.jsonl"
    arch.write_text(TEXT)
    varied = ("--vary", "spm_kib=64..128", "rf_bytes=128,512")
    done = _run("--arch", arch, "--out", out, "--json", "--jobs", "1", *varied, branches)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["points"]) == 4
    assert len(out.read_text().splitlines()) == 5

    done = _run("--arch", arch, "--mappings", tmp_path / "mappings", branches)
    assert done.returncode == 0, done.stderr
    assert "no layer has a better mapping" in done.stdout
    assert len(list((tmp_path / "mappings").glob("*.json"))) == 3

    done = _run("--arch", arch)
    assert (done.returncode, "no model is given" in done.stderr) == (2, True)
    arch.write_text(TEXT.replace("pes = 256", "pes = 0"))
    done = _run("--arch", arch, branches)
    assert done.returncode == 1
    assert "pes: must be at least 1, not 0" in done.stderr
