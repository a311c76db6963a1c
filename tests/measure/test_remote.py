"""Operators timed on boards: real trackers and servers of TVM's RPC on the loopback interface."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from cross import aarch64
from rpc_network import Network
from tdse.assemble import Assembly, compile_regions
from tdse.cli.main import main
from tdse.errors import TargetError, TdseError, UsageError, VersionError
from tdse.graph.model import Graph
from tdse.graph.reader import read_tflite
from tdse.graph.regions import Region
from tdse.graph.signature import signature
from tdse.link import find_linker
from tdse.measure import remote, session
from tdse.measure.activations import Array, activations, random_inputs
from tdse.measure.conditions import current_conditions
from tdse.measure.deadline import Deadline
from tdse.measure.message import pack
from tdse.measure.ops import Work, measure_ops
from tdse.measure.records import RecordStore
from tdse.measure.remote import Boards
from tdse.measure.session import Session
from tdse.measure.timer import Job, LocalTimer, Timed
from tdse.measure.tracker import Tracker
from tdse.runtime.plan import Plan, PlanRegion, PlanTensor, Step
from tdse.targets import get_target
from tdse.worker import find_program, worker_command, worker_environment

_NEEDED = [name for name in ("tornado", "cloudpickle") if importlib.util.find_spec(name) is None]
_POINTS = {point.name for point in importlib.metadata.entry_points(group="tvm.backends")}
pytestmark = [
    pytest.mark.tvm,
    pytest.mark.skipif(bool(_NEEDED), reason=f"TVM's RPC needs {', '.join(_NEEDED)}"),
    pytest.mark.skipif(
        "tdse_board" not in _POINTS, reason="tdse is not installed, so RPC servers do not load it"
    ),
]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    made = Network(tmp_path_factory.mktemp("rpc"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def pair(network: Network) -> str:
    """The key of two servers that live as long as the tests."""
    for _ in range(2):
        network.server("pair")
    network.wait_for("pair", 2)
    return "pair"


@pytest.fixture(scope="module")
def graph(tiny_conv_int8: Path) -> Graph:
    return read_tflite(tiny_conv_int8.read_bytes(), "tiny")


@pytest.fixture(scope="module")
def values(graph: Graph) -> dict[int, Array]:
    return activations(graph, random_inputs(graph, 0))


@pytest.fixture(scope="module")
def jobs(graph: Graph, values: dict[int, Array]) -> list[tuple[int, Job]]:
    """Every operator on LiteRT, many times over."""
    regions = [Region(i, "litert", (op,)) for i, op in enumerate(graph.placed_ops)]
    compiled = compile_regions(graph, regions, threads=1)
    made = [
        Job(compiled.alone(i), tuple(values[index] for index in result.inputs), 1, 0.0)
        for i, result in enumerate(compiled.results)
    ]
    return list(enumerate(made * 8))


def _later() -> Deadline:
    return Deadline(time.monotonic() + 100.0)


def test_boards_measure_what_this_machine_does(
    network: Network, pair: str, graph: Graph, values: dict[int, Array], tmp_path: Path
) -> None:
    work = [Work(op, target, 1) for target in ("litert", "llvm") for op in graph.placed_ops]
    here = RecordStore(current_conditions(), tmp_path / "here.sqlite")
    assert measure_ops(graph, work, values, here, LocalTimer(here), deadline=_later()) == len(work)
    with Boards(network.address, pair) as boards:
        assert len(boards) == 2
        assert boards.board.conditions.key == current_conditions().key
        there = RecordStore(boards.board.conditions, tmp_path / "there.sqlite")
        done = measure_ops(graph, work, values, there, boards, deadline=_later())
    assert done == len(work)
    keys = [signature(graph, op) for op in graph.placed_ops]
    assert there.find(keys).keys() == here.find(keys).keys()
    assert {target for _, target, _ in there.find(keys)} == {"litert", "llvm"}
    for key in keys:
        assert there.find_support(key, "llvm") == here.find_support(key, "llvm")


def test_results_are_those_of_this_machine(
    network: Network, pair: str, graph: Graph, values: dict[int, Array], tmp_path: Path
) -> None:
    store = RecordStore(current_conditions(), tmp_path / "records.sqlite")
    regions = [Region(i, "llvm", (op,)) for i, op in enumerate(graph.placed_ops)]
    get_target.cache_clear()
    compile_regions(graph, regions[6:], threads=1)
    compiled = compile_regions(graph, regions, threads=1)
    made = [
        (i, Job(compiled.alone(i), tuple(values[index] for index in result.inputs), 1, 0.0))
        for i, result in enumerate(compiled.results)
    ]
    # The second half was compiled before, so there are two libraries.
    assert len(made[0][1].assembly.libraries) == 2
    here = dict(LocalTimer(store).time_all(made, deadline=_later()))
    with Boards(network.address, pair) as boards:
        there = dict(boards.time_all(made, deadline=_later()))
    for i in here:
        ours, theirs = here[i], there[i]
        assert isinstance(ours, Timed)
        assert isinstance(theirs, Timed)
        assert theirs.timing.runs >= 2
        for a, b in zip(ours.outputs, theirs.outputs, strict=True):
            np.testing.assert_array_equal(a, b)


def test_both_boards_work_at_the_same_time(
    network: Network, pair: str, jobs: list[tuple[int, Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, at_work, most = threading.Lock(), set(), 0
    time_one = Session.time

    def watched(self: Session, job: Job, libraries: Sequence[bytes]) -> Timed:
        nonlocal most
        with lock:
            at_work.add(str(self.place))
            most = max(most, len(at_work))
        try:
            return time_one(self, job, libraries)
        finally:
            with lock:
                at_work.discard(str(self.place))

    monkeypatch.setattr(Session, "time", watched)
    with Boards(network.address, pair) as boards:
        assert len(dict(boards.time_all(jobs, deadline=_later()))) == len(jobs)
    assert most == 2


def test_nothing_is_begun_after_the_deadline(
    network: Network, pair: str, jobs: list[tuple[int, Job]]
) -> None:
    with Boards(network.address, pair) as boards:
        results = dict(boards.time_all(jobs, deadline=Deadline(time.monotonic() - 1.0)))
    assert results == {i: None for i, _ in jobs}


def test_an_operator_that_crashes_costs_only_itself(
    network: Network, pair: str, jobs: list[tuple[int, Job]], tmp_path: Path
) -> None:
    source, library = tmp_path / "crash.cc", tmp_path / "crash.so"
    source.write_text('extern "C" int __tvm_ffi_crash() { return *(volatile int*)8; }\n')
    subprocess.run(
        [find_linker(), "-shared", "-fPIC", "-o", library, source], check=True, timeout=60
    )
    tensors = (PlanTensor("x", "int8", (4,)), PlanTensor("y", "int8", (4,)))
    region = PlanRegion("region0_llvm", "tvm", 1, None, (0,), (1,), (Step("crash", (0, 1)),))
    crash = Job(Assembly(Plan(tensors, (0,), (1,), (region,)), ()), (np.zeros(4, np.int8),), 1, 0.0)
    with Boards(network.address, pair) as boards:
        for board in boards._sessions:
            with pytest.raises(TargetError, match="running it crashed the process with SIGSEGV"):
                board.time(crash, [library.read_bytes()])
        assert all(
            isinstance(outcome, Timed)
            for _, outcome in boards.time_all(jobs[:13], deadline=_later())
        )
        assert len(boards) == 2


def test_what_a_board_cannot_make_sense_of_is_an_error(
    network: Network, pair: str, jobs: list[tuple[int, Job]]
) -> None:
    plan = jobs[0][1].assembly.plan.to_bytes()
    settings = {"threads": 1, "patience_s": 0.0, "libraries": 0}
    one = {**settings, "libraries": 1}
    with Boards(network.address, pair) as boards:
        ask = boards._sessions[0]._time
        assert ask is not None
        assert b"does not start with TDSEPLAN" in bytes(ask(pack(settings, [b"no plan"])))
        assert b"the plan takes 1 inputs, not 0" in bytes(ask(pack(settings, [plan])))
        assert b"cannot be loaded" in bytes(ask(pack(one, [plan, b"no library"])))
        assert b"malformed" in bytes(ask(pack(settings, [plan, b"too short"])))
        assert b"1 parts and 1 libraries" in bytes(ask(pack(one, [plan])))
        assert b"malformed" in bytes(ask(pack({**settings, "threads": 0}, [plan])))
        assert b"malformed" in bytes(ask(pack({}, [plan])))
        assert b"malformed" in bytes(ask(b""))


def test_kernels_are_compiled_for_the_boards(
    network: Network, pair: str, graph: Graph, values: dict[int, Array], tmp_path: Path
) -> None:
    """For one that has less than this machine; and what is for AArch64 does not load here."""
    with Boards(network.address, pair) as boards:
        assert boards.processor is None
        older = dataclasses.replace(
            boards.board, mcpu="x86-64-v2", features=("sse4_1", "sse4_2", "ssse3")
        )
        boards.processor = older.processor_elsewhere()
        assert boards.processor is not None
        store = RecordStore(boards.board.conditions, tmp_path / "records.sqlite")

        def measure(target: str) -> int:
            work = [Work(graph.placed_ops[0], target, 1)]
            return measure_ops(graph, work, values, store, boards, deadline=_later())

        assert measure("litert") == measure("llvm") == 1
        key = signature(graph, graph.placed_ops[0])
        assert {target for _, target, _ in store.find([key])} == {"litert", "llvm"}
        if find_program("aarch64-linux-gnu-g++") is not None:
            boards.processor = aarch64("cortex-a72")
            with pytest.raises(TdseError, match="cannot be loaded"):
                measure("llvm")


def test_boards_come_and_go(
    network: Network, jobs: list[tuple[int, Job]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One stops answering, the other is killed, and a third is started while work is left."""
    monkeypatch.setattr(session, "_ANSWER_S", 3.0)
    monkeypatch.setattr(remote, "_WAIT_S", 60.0)
    first, second = network.server("frail"), network.server("frail")
    network.wait_for("frail", 2)

    def given() -> Iterator[tuple[int, Job]]:
        for i, job in jobs:
            if i == 25:
                network.kill(first, signal.SIGSTOP)
            if i == 60:
                network.kill(second)
                network.server("frail")
            yield i, job

    with Boards(network.address, "frail") as boards:
        outcomes = list(boards.time_all(given(), deadline=_later()))
        assert sorted(i for i, _ in outcomes) == [i for i, _ in jobs]
        assert sum(isinstance(outcome, Timed) for _, outcome in outcomes) >= len(jobs) - 1
        assert len(boards) == 1

        monkeypatch.setattr(remote, "_WAIT_S", 1.0)
        seen = []
        with pytest.raises(TdseError) as caught:
            for i, _ in boards.time_all(jobs, deadline=_later()):
                seen.append(i)
                network.close("frail")
    assert len(seen) < len(jobs)
    assert re.match(
        rf"{network.address}: no board with the key 'frail' is left: 127.0.0.1:\d+ "
        r"ended the connection: .*; restart its RPC server and run the command again; "
        r"what was measured is kept",
        str(caught.value),
    )


_PLATFORM = """
name = "board"

[[devices]]
name = "cpu"
targets = ["litert"]
triple = "sparc-linux-gnu"
model_name = "{name}"
cores = {cores}
"""


def test_boards_of_another_platform_are_profiled(
    network: Network,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Boards with one core, of a platform for which nothing can be compiled here."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("tdse.profile._OPS", 12)
    monkeypatch.setattr("tdse.profile._CANDIDATES", 12)
    network.server("single", cores={min(os.sched_getaffinity(0))})
    network.wait_for("single", 1)
    cpu, records = current_conditions().cpu, tmp_path / "records.jsonl"
    platform = tmp_path / "board.toml"
    words = ["profile", "--rpc", network.address, "--key", "single", "--platform", str(platform)]

    platform.write_text(_PLATFORM.format(name=cpu, cores=64))
    assert main([*words, "--budget", "9"]) == 1
    assert (
        "the boards with the key 'single' are not of platform board: "
        f"they are {cpu} (1 cores), it is {cpu} (64 cores); leave out --platform"
    ) in capsys.readouterr().err

    platform.write_text(_PLATFORM.format(name=cpu, cores=1))
    assert main([*words, "--budget", "20", "--export", str(records), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["measured"]["measured"] > 0
    assert report["exported"]["records"] == report["measured"]["measured"]
    assert report["exported"]["conditions"]["cores"] == 1
    entries = [json.loads(line) for line in records.read_text().splitlines()[1:]]
    times = [entry for entry in entries if entry["kind"] == "record"]
    assert times and all((t["target"], t["threads"]) == ("litert", 1) for t in times)


def test_the_page_has_options_that_there_are() -> None:
    page = Path(__file__).parents[2] / "docs" / "remote-boards.md"
    programs = {
        "python -m tvm.exec.rpc_tracker": ("tvm.exec.rpc_tracker",),
        "python -m tvm.exec.query_rpc_tracker": ("tvm.exec.query_rpc_tracker",),
        "tdse serve": ("tdse.cli.main", "serve"),
        "tdse profile": ("tdse.cli.main", "profile"),
    }
    commands = re.findall(r"^\w+\$ (.*?) (--.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert {name for name, _ in commands} == set(programs)
    for program, command in programs.items():
        given = {
            o for name, text in commands for o in re.findall(r"--[\w-]+", text) if name == program
        }
        told = subprocess.run(
            worker_command(*command, "--help"),
            env=worker_environment(),
            capture_output=True,
            text=True,
        ).stdout
        assert given <= set(re.findall(r"--[\w-]+", told))


def _error(network: Network, key: str) -> str:
    with pytest.raises(TdseError) as caught:
        Boards(network.address, key)
    return str(caught.value)


def test_wrong_addresses_and_keys_are_told(
    network: Network, pair: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_WAIT_S", 0.5)
    for text in ("here", "here:", ":90", "here:0", "here:65536", "here:ssh"):
        with pytest.raises(
            UsageError, match="is not the address of an RPC tracker or server; give HOST:PORT"
        ):
            Boards(text, pair)
    with pytest.raises(TdseError, match=r"^127.0.0.1:1: the RPC tracker cannot be used: Conn.*re"):
        Boards("127.0.0.1:1", pair)
    assert "the tracker knows no board with the key 'pear'" in _error(network, "pear")
    assert "its keys are" in _error(network, "pear")
    assert "--key" in _error(network, "pear")
    with Boards(network.address, pair):
        assert "no board with the key 'pair' is free: 2 of 2 are in use" in _error(network, pair)


def test_what_is_no_tracker_is_told(network: Network, pair: str) -> None:
    network.wait_for(pair, 1)
    place = Tracker.parse(network.address).take(pair)
    assert place is not None
    with pytest.raises(TdseError, match="the RPC tracker cannot be used"):
        Boards(f"{place.host}:{place.port}", pair)


def test_boards_that_do_not_fit_are_refused(network: Network, tmp_path: Path) -> None:
    """Other versions, no tdse, and two that differ."""
    other = tmp_path / "ai_edge_litert-2.3.9.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: ai-edge-litert\nVersion: 2.3.9\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    network.server("newer", environment={"PYTHONPATH": path})
    network.server("bare", environment={"TVM_DEVICE_BACKEND_AUTOLOAD": "0"})
    network.server("mixed")
    network.server("mixed", cores={min(os.sched_getaffinity(0))})
    for key, count in (("newer", 1), ("bare", 1), ("mixed", 2)):
        network.wait_for(key, count)
    here = importlib.metadata.version("ai-edge-litert")
    text = _error(network, "newer")
    assert f"ai-edge-litert is 2.3.9 there and {here} here" in text
    assert f"pip install tdse==0.1.0 ai-edge-litert=={here} apache-tvm==" in text
    assert "the RPC server offers nothing of tdse" in _error(network, "bare")
    with pytest.raises(VersionError):
        Boards(network.address, "bare")
    if len(os.sched_getaffinity(0)) > 1:
        assert "are not alike: its cores is" in _error(network, "mixed")
