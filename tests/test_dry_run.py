"""What a compilation would do, told from made-up records."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from tdse.cli import tdsec
from tdse.dry_run import dry_run
from tdse.errors import UsageError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import signature
from tdse.graph.workload import workload
from tdse.measure.conditions import current_conditions
from tdse.measure.launch import launch_graph
from tdse.measure.records import Record, RecordStore

pytestmark = pytest.mark.tvm
_TARGETS = ("litert", "llvm")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _measured(graph: Graph, target: str, time_us: float, leave_out: int = -1) -> None:
    """Records as if every operator of a graph had been measured to take ``time_us``."""
    with closing(RecordStore(current_conditions())) as store:
        store.add(
            [
                Record(
                    signature(graph, op),
                    target,
                    1,
                    (workload(graph, graph.ops[op]),),
                    time_us,
                    1.0,
                    10,
                )
                for op in graph.placed_ops
                if op != leave_out
            ]
        )


def test_nothing_is_known_at_first(tiny_conv_int8: Path) -> None:
    graph = read_tflite(tiny_conv_int8)
    distinct = {signature(graph, op) for op in graph.placed_ops}
    found = dry_run(tiny_conv_int8, targets=_TARGETS, threads=1)
    assert [one.variant for one in found.variants] == ["litert x1", "llvm x1"]
    assert {(one.ops, one.missing) for one in found.variants} == {(len(distinct),) * 2}
    assert found.gain is None and "no cost models of litert x1" in found.unknown
    assert 0 < found.measuring_s < found.seconds
    short = dry_run(tiny_conv_int8, targets=_TARGETS, threads=1, budget_s=0.1)
    assert short.measuring_s == pytest.approx(0.06)


def test_records_say_what_is_gained(
    tiny_conv_int8: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    graph = read_tflite(tiny_conv_int8)
    for target, time_us in (("litert", 30.0), ("llvm", 10.0)):
        _measured(launch_graph(), target, 1.0)
        _measured(graph, target, time_us)
    words = [str(tiny_conv_int8), "--dry-run", "--targets", "litert,llvm", "--threads", "1"]
    assert tdsec.main([*words, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "tdse.dry-run/1"
    assert [one["missing"] for one in told["variants"]] == [0, 0]
    assert told["expected"]["name"] == "llvm x1" and told["litert"]["name"] == "litert x1"
    assert told["gain"] == told["litert"]["latency_us"] / told["expected"]["latency_us"] > 2.5
    assert tdsec.main(words) == 0
    text = capsys.readouterr().out
    assert f"{told['gain']:.2f} times as fast as litert x1" in text
    assert "0 of 13 distinct operators are not measured yet" in text


def test_an_emulated_board_measures_nothing(tiny_conv_int8: Path) -> None:
    with pytest.raises(UsageError, match="is emulated, so that it has no targets to measure"):
        dry_run(tiny_conv_int8, platform="rpi4-coral-usb3")
