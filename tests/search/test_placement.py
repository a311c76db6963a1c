import json
import os
import stat
from types import SimpleNamespace

import pydantic
import pytest

from tdse.errors import PlacementError
from tdse.graph.regions import Region
from tdse.search.placement import Placement, load_placement, make_placement

GRAPH = SimpleNamespace(
    name="net",
    sha256="ab" * 32,
    ops=[SimpleNamespace(label=f"{op}:relu") for op in range(4)],
)
REGIONS = [
    Region(0, "litert", (0, 1)),
    Region(1, "llvm", (3,), (0, 1)),
]


@pytest.fixture
def placement() -> Placement:
    return make_placement(GRAPH, REGIONS, 2, 123.5, 7, windows_us={(0, 1): (0.0, 100.0)})


@pytest.fixture
def wrong(placement, tmp_path):
    """Writes the placement with some change and gives the reason why it is refused."""

    def refuse(change):
        table = json.loads(placement.model_dump_json(by_alias=True))
        change(table)
        path = tmp_path / "wrong.json"
        path.write_text(json.dumps(table))
        with pytest.raises(PlacementError) as caught:
            load_placement(path)
        assert caught.value.where == str(path)
        assert caught.value.what == "not a placement that tdse can use"
        return caught.value.why

    return refuse


def test_what_is_saved_is_loaded(placement, tmp_path):
    path = tmp_path / "placement.json"
    placement.save(path)
    assert load_placement(path) == placement
    assert load_placement(str(path)).assignment == {0: "litert", 1: "litert", 3: "llvm"}


def test_the_form_of_the_file(placement, tmp_path):
    path = tmp_path / "placement.json"
    placement.save(path)
    table = json.loads(path.read_text())
    assert table["tdse_version"]
    del table["tdse_version"]
    assert table == {
        "schema": "tdse.placement/3",
        "model_sha256": "ab" * 32,
        "model_name": "net",
        "threads": 2,
        "ops": [
            {"index": 0, "label": "0:relu", "device": "cpu", "target": "litert"},
            {"index": 1, "label": "1:relu", "device": "cpu", "target": "litert"},
            {"index": 3, "label": "3:relu", "device": "cpu", "target": "llvm"},
        ],
        "regions": [
            {
                "index": 0,
                "device": "cpu",
                "target": "litert",
                "ops": [0, 1],
                "lanes": [0],
                "predicted_start_us": 0.0,
                "predicted_us": 100.0,
            },
            {
                "index": 1,
                "device": "cpu",
                "target": "llvm",
                "ops": [3],
                "lanes": [0, 1],
                "predicted_start_us": None,
                "predicted_us": None,
            },
        ],
        "predicted_us": 123.5,
        "predicted_period_us": None,
        "seed": 7,
    }


def test_it_cannot_be_changed(placement):
    with pytest.raises(pydantic.ValidationError):
        placement.threads = 3


def test_saving_replaces_in_one_step(placement, tmp_path, monkeypatch):
    path = tmp_path / "placement.json"
    path.write_text("old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PlacementError, match="cannot write the placement: No space left"):
        placement.save(path)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["placement.json"]
    monkeypatch.undo()
    placement.save(path)
    assert load_placement(path) == placement
    assert os.listdir(tmp_path) == ["placement.json"]


def test_saving_keeps_to_the_umask(placement, tmp_path):
    before = os.umask(0o027)
    try:
        placement.save(tmp_path / "placement.json")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "placement.json").stat().st_mode) == 0o640


def test_a_folder_that_does_not_exist(placement, tmp_path):
    with pytest.raises(PlacementError, match="No such file or directory"):
        placement.save(tmp_path / "missing" / "placement.json")
    with pytest.raises(PlacementError, match=r"cannot read the placement: No such file"):
        load_placement(tmp_path / "missing.json")
    with pytest.raises(PlacementError, match="Is a directory"):
        load_placement(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{", b"\xff\xfe", b"[1, 2]", b"null"])
def test_what_is_no_placement_at_all(data, tmp_path):
    path = tmp_path / "bad.json"
    path.write_bytes(data)
    with pytest.raises(PlacementError) as caught:
        load_placement(path)
    assert "\n" not in str(caught.value)
    assert caught.value.why


def test_keys_that_are_wrong(wrong):
    assert wrong(lambda table: table.pop("ops")) == "ops: is missing"
    assert wrong(lambda table: table.update(threads=0)) == "threads: must be at least 1, not 0"
    assert wrong(lambda table: table.update(thread=1)) == (
        "thread: is not a known key, did you mean threads?"
    )
    assert wrong(lambda table: table.update(schema="tdse.placement/9")) == (
        "schema: must be 'tdse.placement/3', not 'tdse.placement/9'"
    )
    assert wrong(lambda table: table.update(seed="x")) == "seed: must be a whole number, not 'x'"
    assert wrong(lambda table: table["ops"][1].update(target="")) == (
        "ops[1].target: must not be empty"
    )
    assert wrong(lambda table: table.update(model_sha256="12")).startswith(
        "model_sha256: string should match pattern"
    )


def test_lanes(placement, wrong):
    assert placement.lanes == 2
    assert "the lanes of region 1 do not ascend" in wrong(
        lambda table: table["regions"][1].update(lanes=[1, 0])
    )
    assert "no region is on lane 1" in wrong(lambda table: table["regions"][1].update(lanes=[0, 2]))


def test_all_faults_are_told_at_once(wrong):
    why = wrong(lambda table: (table.pop("seed"), table.update(threads="two")))
    assert why == "threads: must be a whole number, not 'two'; seed: is missing"


def test_parts_that_do_not_agree(wrong):
    assert (
        wrong(lambda table: table["ops"].append(table["ops"][0])) == "ops names an operator twice"
    )
    assert wrong(lambda table: table["regions"].pop()) == "operator 3 is in no region"
    assert wrong(lambda table: table["regions"][1].update(index=5)) == "regions[1] has index 5"
    assert wrong(lambda table: table["regions"][1].update(ops=[2])) == (
        "region 1 holds operator 2, which ops has not"
    )
    assert wrong(lambda table: table["regions"][0].update(ops=[0, 1, 1])) == (
        "operator 1 is in two regions"
    )
    assert wrong(lambda table: table["regions"][1].update(target="litert")) == (
        "region 1 is for litert on cpu, its operator 3 for llvm on cpu"
    )
    assert (
        wrong(lambda table: table["regions"][1].update(ops=[]))
        == ("regions[1].ops: needs at least 1 entry; ")[:-2]
    )
