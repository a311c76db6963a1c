"""Artefacts that are sent to a board: real servers of TVM's RPC on the loopback interface."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from litert_reference import run_litert
from rpc_network import Network, free_port, listens, wait_until
from tdse.cli.main import main
from tdse.deploy import deploy
from tdse.errors import TdseError
from tdse.graph.reader import read_tflite
from tdse.graph.signature import region_signature
from tdse.measure.activations import random_inputs
from tdse.measure.conditions import current_conditions
from tdse.measure.records import RecordStore
from tdse.runtime.artefact import METADATA, write_json
from tdse.runtime.metadata import sealed
from tdse.search.placement import load_placement
from tdse.worker import worker_command, worker_environment

_NEEDED = [name for name in ("tornado", "cloudpickle") if importlib.util.find_spec(name) is None]
_POINTS = {point.name for point in importlib.metadata.entry_points(group="tvm.backends")}
pytestmark = [
    pytest.mark.tvm,
    pytest.mark.skipif(bool(_NEEDED), reason=f"TVM's RPC needs {', '.join(_NEEDED)}"),
    pytest.mark.skipif(
        "tdse_board" not in _POINTS, reason="tdse is not installed, so RPC servers do not load it"
    ),
    pytest.mark.usefixtures("record_store_of_module"),
]


@pytest.fixture(scope="module")
def artefact(
    tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory, record_store_of_module: None
) -> Path:
    out = tmp_path_factory.mktemp("artefact") / "out"
    tdse.compile(tiny_conv_int8, out=out, targets=["llvm"], threads=1, budget_s=5)
    return out


class Board:
    """A process of ``tdse serve``."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        # Where it would leave what it leaves.
        self.files = directory / "files"
        self.files.mkdir()
        with (directory / "log").open("wb") as log:
            self.process = subprocess.Popen(
                worker_command("tdse.cli.main", "serve", "--port", str(self.port)),
                env={**worker_environment(), "TMPDIR": str(self.files)},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        wait_until(lambda: listens(self.port))

    def kill(self) -> None:
        """End it with all that it forked."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    made = Board(tmp_path_factory.mktemp("board"))
    yield made
    made.kill()


def test_an_artefact_runs_on_a_board(
    artefact: Path, board: Board, tiny_conv_int8: Path, tmp_path: Path, capsys: Any
) -> None:
    saved = tmp_path / "outputs.npz"
    options = ["--rpc", board.address, "--seconds", "0.5", "--seed", "4", "--save", str(saved)]
    assert main(["deploy", str(artefact), "--json", *options]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["schema"] == "tdse.deployment/1" and told["isa"] == os.uname().machine
    names = [one["name"] for one in told["contenders"]]
    assert names[:2] == ["tdse", "litert x1"]
    assert all(one["median_us"] > 0 for one in told["contenders"])
    assert told["correctness"]["ours"] == {"steps": 0, "relative": 0.0}
    placement, graph = load_placement(artefact / "placement.json"), read_tflite(tiny_conv_int8)
    assert [region["target"] for region in told["regions"]] == ["llvm"] * len(placement.regions)
    with np.load(saved) as archive:
        (outputs,) = (archive[name] for name in archive.files)
    for i, result in enumerate(outputs):
        expected = run_litert(tiny_conv_int8, random_inputs(graph, 4 + i))
        np.testing.assert_array_equal(result, expected[0])
    keys = [region_signature(graph, region.ops) for region in placement.regions]
    with closing(RecordStore(current_conditions())) as store:
        kept = store.find(keys)
        assert {(key, "llvm", 1) for key in keys} <= set(kept)
    assert told["records"] == len(keys)
    assert not list(board.files.glob("tdse*"))


def test_it_is_shown(artefact: Path, board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["deploy", str(artefact), "--rpc", board.address, "--seconds", "0.1"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert f"on {current_conditions().cpu} ({os.uname().machine}" in printed
    assert "outputs against LiteRT's here, on 3 inputs: exact" in printed


def _changed(artefact: Path, tmp_path: Path, **fields: Any) -> Path:
    copied = tmp_path / "out"
    shutil.copytree(artefact, copied)
    metadata = json.loads((copied / METADATA).read_text())
    write_json(copied / METADATA, sealed({**metadata, **fields}, copied))
    return copied


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (
            {"cpu": {"isa": "aarch64", "features": []}},
            f"it is for aarch64, the board is {os.uname().machine}",
        ),
        (
            {"cpu": {"isa": os.uname().machine, "features": ["avx9"]}},
            "its kernels may use avx9, which the board has not",
        ),
        ({"tdse": "99.0.0"}, "the artefact was made by a newer tdse: it was made by 99.0.0"),
    ],
    ids=["architecture", "extension", "version"],
)
def test_an_artefact_that_does_not_fit(
    fields: dict[str, Any], text: str, artefact: Path, board: Board, tmp_path: Path
) -> None:
    with pytest.raises(TdseError) as caught:
        deploy(_changed(artefact, tmp_path, **fields), rpc=board.address)
    line = str(caught.value)
    assert text in line and f"board {board.address}" in line and "\n" not in line
    assert not list(board.files.glob("tdse*"))


def test_a_board_that_is_killed(artefact: Path, tmp_path: Path) -> None:
    board = Board(tmp_path)
    runs = threading.Event()

    def progress(stage: str, done: int, total: int, detail: str) -> None:
        if stage == "run":
            threading.Timer(2.0, board.kill).start()
            runs.set()

    with pytest.raises(TdseError) as caught:
        deploy(artefact, rpc=board.address, seconds=30, progress=progress)
    assert runs.is_set()
    line = str(caught.value)
    assert line.startswith(f"board {board.address}: the board is lost: it ended the connection")
    assert "\n" not in line
    assert not list(board.files.rglob("*.so")) and not list(board.files.glob("tdse*"))


def test_by_way_of_a_tracker(artefact: Path, tmp_path: Path) -> None:
    network = Network(tmp_path)
    try:
        network.server("pi")
        network.wait_for("pi", 1)
        found = deploy(artefact, rpc=network.address, key="pi", seconds=0.1)
        assert found.correctness.ours.is_exact
        with pytest.raises(TdseError, match="knows no board with the key 'tau'"):
            deploy(artefact, rpc=network.address, key="tau")
    finally:
        network.close()


def test_addresses_where_no_board_is(artefact: Path) -> None:
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(TdseError, match="the board is lost") as caught:
        deploy(artefact, rpc=address)
    assert "see that `tdse serve` runs there" in str(caught.value)
    for wrong in ("nowhere", "host:99999"):
        with pytest.raises(TdseError, match="is not the address of"):
            deploy(artefact, rpc=wrong)
    with pytest.raises(TdseError, match="0 s cannot be timed for"):
        deploy(artefact, rpc=address, seconds=0)


def test_a_server_that_cannot_start(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    for options, text in (
        (["--port", str(board.port)], "the port cannot be listened on"),
        (["--key", "pi"], "--tracker and --key belong together"),
        (["--port", "0"], "0 is no port"),
    ):
        assert main(["serve", *options]) != 0
        assert text in capsys.readouterr().err
