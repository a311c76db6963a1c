"""Records of regions on an Edge TPU take the place of the model's figures, and are told as that."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from packages import compiled_model, package

import tdse
from tdse.cli import main, show, tdsec
from tdse.edgetpu.cost import FITTED
from tdse.emulation.bench import bench_emulated
from tdse.emulation.emulate import Emulation, emulate, emulate_given
from tdse.emulation.measured import recorded_as, records_of
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.signature import region_signature
from tdse.graph.workload import workload
from tdse.measure.conditions import Conditions, current_conditions
from tdse.measure.exchange import export_records, import_records
from tdse.measure.records import Record, RecordStore
from tdse.platform import Platform, load_platform
from tdse.platform.edgetpu import LINKS
from tdse.runtime.litert import run_litert

BOARD = "rpi4-coral-usb3"
RASPBERRY = Conditions(
    "Raspberry Pi 4 Model B Rev 1.4", 4, (0, 1, 2, 3), "performance", 0.0, (("tdse", "1"),)
)

Keep = Callable[..., RecordStore]


@pytest.fixture
def cut_graph(cut_in_two: Path) -> Graph:
    """Convolutions 0 and 1, an ABS, convolutions 3 and 4."""
    return read_tflite(cut_in_two)


@pytest.fixture
def keep(cut_graph: Graph, tmp_path: Path) -> Iterator[Keep]:
    """Makes a store with records of regions of that model; as measured on a board."""
    with contextlib.ExitStack() as stack:

        def make(
            regions: Sequence[tuple[tuple[int, ...], float]],
            target: str = "edgetpu@usb3",
            path: Path = tmp_path / "records.sqlite",
        ) -> RecordStore:
            store = stack.enter_context(contextlib.closing(RecordStore(RASPBERRY, path)))
            store.add(
                [
                    Record(
                        region_signature(cut_graph, ops),
                        target,
                        1,
                        tuple(workload(cut_graph, cut_graph.ops[op]) for op in ops),
                        median_us,
                        10.0,
                        100,
                    )
                    for ops, median_us in regions
                ]
            )
            return store

        yield make


def placed(graph: Graph, store: RecordStore | None, board: Platform | None = None) -> Emulation:
    # Regions 0 and 1, and 3; the two behind the ABS would be equal to the first two.
    pins = ("0=tpu", "1=tpu", "3=tpu", "4=cpu")
    given = {"pins": pins, "budget_s": 1.0, "records": store}
    return emulate(graph, board or load_platform(BOARD), "timing", **given)


def took(made: Emulation) -> dict[tuple[int, ...], tuple[float, bool]]:
    """Microseconds of each region on the Edge TPU, and whether they were measured."""
    steps = [step for step in made.emulated.steps if step.place == "tpu"]
    return {step.ops: (step.modelled_us, step.is_measured) for step in steps}


def carried_us() -> float:
    """Of an image of 32x32x64 in and one out."""
    usb = LINKS["usb3"]
    return 2 * (usb.latency_us + 32 * 32 * 64 / usb.tensor_bytes_per_us)


def test_a_record_replaces_the_model(cut_graph: Graph, keep: Keep) -> None:
    modelled = took(placed(cut_graph, None))
    assert [is_measured for _, is_measured in modelled.values()] == [False, False]
    made = placed(cut_graph, keep([((0, 1), 900.0), ((3,), 800.0)]))
    assert took(made) == {
        (0, 1): (pytest.approx(900.0 - carried_us()), True),
        (3,): (pytest.approx(800.0 - carried_us()), True),
    }
    again = emulate_given(
        cut_graph, load_platform(BOARD), "timing", made.placement, records=keep([])
    )
    assert took(again) == took(made)
    assert made.emulated.predicted_us > placed(cut_graph, None).emulated.predicted_us


def test_what_has_no_record_is_corrected(cut_graph: Graph, keep: Keep) -> None:
    (first_us, _), (second_us, _) = took(placed(cut_graph, None)).values()
    made = took(placed(cut_graph, keep([((0, 1), 1.5 * (first_us + carried_us()))])))
    assert made[0, 1] == (pytest.approx(1.5 * first_us + 0.5 * carried_us()), True)
    assert made[3,] == (pytest.approx(1.5 * second_us), False)


def test_a_record_may_be_shorter_than_any_invocation_of_the_model(
    cut_graph: Graph, keep: Keep
) -> None:
    short_us = FITTED.invoke_us / 5
    made = took(placed(cut_graph, keep([((0, 1), short_us + carried_us())])))
    assert made[0, 1] == (pytest.approx(short_us), True)


def test_records_of_other_circumstances_are_left_out(
    cut_graph: Graph, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    modelled = took(placed(cut_graph, None))
    # Behind another link; of other regions.
    assert took(placed(cut_graph, keep([((0, 1), 3000.0)], "edgetpu@pcie"))) == modelled
    assert took(placed(cut_graph, keep([((0, 1, 2), 3000.0)]))) == modelled
    # Each region alone would have held its parameters, both together do not.
    store = keep([((3,), 3000.0)])
    assert took(placed(cut_graph, store))[3,][1]
    monkeypatch.setattr("tdse.edgetpu.cost.PARAMETER_CAPACITY_BYTES", 80_000)
    assert not took(placed(cut_graph, store))[3,][1]


def test_records_come_from_a_board(
    cut_graph: Graph,
    cut_in_two: Path,
    keep: Keep,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Exported on the board, imported here, found by the name of the board's host."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    file = tmp_path / "board.jsonl"
    export_records(keep([((0, 1), 3000.0), ((3,), 4000.0)]), file)
    with contextlib.closing(RecordStore(current_conditions())) as here:
        import_records(here, file)
    board = load_platform(BOARD)
    with records_of(board) as records:
        assert records is not None and records.conditions.cpu == RASPBERRY.cpu
    other = board.model_copy(
        update={"devices": (board.devices[0].model_copy(update={"cores": 2}), board.devices[1])}
    )
    with records_of(other) as records:
        assert records is None
    with records_of(load_platform("zynq")) as records:
        assert records is None

    command = [str(cut_in_two), "-o", str(tmp_path / "out"), "--platform", BOARD, "--budget", "1"]
    pins = [f"--pin={op}" for op in ("0=tpu", "1=tpu", "3=tpu", "4=cpu")]
    assert tdsec.main([*command, "--emulate", "timing", *pins]) == 0
    assert "measured: 2 of 4 regions, 6.188 ms; all else is modelled" in capsys.readouterr().out
    steps = json.loads((tmp_path / "out" / "metadata.json").read_text())["emulated"]["steps"]
    assert [s["is_measured"] for s in steps if s["tensor"] is None] == [True, False, True, False]
    assert main.main(["report", str(tmp_path / "out")]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "but 2 regions take what an Edge TPU took" in page


def test_regions_are_measured_where_an_edge_tpu_is(
    flattened: Path,
    graph: Graph,
    tmp_path: Path,
    use_compiler: Callable[[str], None],
    use_delegate: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The compiler and the delegate stand in for Google's; the time is that of a copy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_compiler("whole")
    use_delegate()
    pins = ("conv2d=cpu", "reshape=tpu", "fully_connected=cpu")
    given = {"platform": BOARD, "edgetpu": "hardware", "pins": pins, "budget_s": 5.0}
    result = tdse.compile(flattened, out=tmp_path / "out", **given)
    assert result.metadata["measured_regions"] == [1]
    show.compiled(result)
    told = capsys.readouterr().out
    assert told.startswith("placed by a model; 1 of the regions were measured on an Edge TPU\n")
    with contextlib.closing(RecordStore(current_conditions())) as store:
        (record,) = store.of_target("edgetpu@usb3")
    assert record.signature == region_signature(graph, (1,))
    assert [work.kind for work in record.workloads] == ["reshape"]
    region = result.placement.regions[1]
    assert region.target == "edgetpu" and region.predicted_us <= record.median_us
    x = np.random.default_rng(0).integers(-128, 128, (1, 6, 6, 4)).astype(np.int8)
    assert np.array_equal(tdse.load(tmp_path / "out")(x), run_litert(graph.data, [x])[0])


def test_a_compiled_model_takes_what_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it computes is known to no other machine: results are zeros."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path, out = tmp_path / "twin_edgetpu.tflite", tmp_path / "out"
    path.write_bytes(compiled_model(package(5000, 0)))
    graph = read_tflite(path)
    with contextlib.closing(RecordStore(RASPBERRY)) as store:
        work = (workload(graph, graph.ops[0]),)
        key = region_signature(graph, (0,))
        store.add([Record(key, "edgetpu@usb3", 1, work, 3000.0, 10.0, 100)])
    command = [str(path), "-o", str(out), "--platform", BOARD, "--emulate", "timing"]
    assert tdsec.main(command) == 0
    told = capsys.readouterr().out
    assert "emulated: rpi4-coral-usb3, timing; results are zeros\n" in told
    assert "measured: 1 of 2 regions, 2.950 ms" in told and "LiteRT" not in told
    model = tdse.load(out)
    begin = time.monotonic()
    assert not model(np.ones((1, 4), np.int8)).any()
    assert time.monotonic() - begin > 0.003
    metadata = json.loads((out / "metadata.json").read_text())
    assert metadata["emulated"]["has_results"] is False
    assert metadata["difference_from_litert"] is None
    report = bench_emulated(out, rounds=1, seconds=0.05)
    assert report.correctness is None


def test_a_compiled_model_is_measured_where_an_edge_tpu_is(
    tmp_path: Path, use_delegate: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    use_delegate()
    path, out = tmp_path / "twin_edgetpu.tflite", tmp_path / "out"
    path.write_bytes(compiled_model(package(5000, 0)))
    result = tdse.compile(path, out=out, platform=BOARD, edgetpu="hardware", budget_s=5.0)
    assert result.metadata["measured_regions"] == [0]
    # The delegate copies, and LiteRT takes the absolute value.
    assert tdse.load(out)(np.full((1, 4), -3, np.int8)).tolist() == [[3, 3, 3, 3]]
    with contextlib.closing(RecordStore(current_conditions())) as store:
        (record,) = store.of_target("edgetpu@usb3")
    assert record.signature == region_signature(read_tflite(path), (0,))


def test_each_link_has_its_name() -> None:
    unit = load_platform(BOARD).devices[1].edgetpu
    assert unit is not None
    names = {recorded_as(unit.model_copy(update={"link": link})) for link in LINKS}
    assert len(names) == len(LINKS)
