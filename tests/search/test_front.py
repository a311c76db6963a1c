import json
from types import SimpleNamespace

import pytest

from tdse.errors import PlacementError
from tdse.graph.regions import Region
from tdse.search.front import Front, FrontEntry, load_front
from tdse.search.given import given_placement
from tdse.search.placement import Placement, make_placement

GRAPH = SimpleNamespace(
    name="net",
    sha256="ab" * 32,
    ops=[SimpleNamespace(label=f"{op}:relu") for op in range(2)],
    placed_ops=(0, 1),
    edges=((0, 1, 0),),
    whole_reason="",
)


def placement(threads: int, *targets: str) -> Placement:
    regions = [Region(op, one, (op,)) for op, one in enumerate(targets)]
    return make_placement(GRAPH, regions, threads, 5.0, 0)


def entry(number: int, one: Placement) -> FrontEntry:
    return FrontEntry(
        number=number,
        name=f"placed x{one.threads}",
        placement=one,
        measured_us=10.0 * number,
        modelled_mj=1.0 / number,
        predicted_us=9.0,
        predicted_mj=None,
    )


@pytest.fixture
def front() -> Front:
    return Front(
        entries=(entry(1, placement(2, "litert", "llvm")), entry(2, placement(1, "llvm", "litert")))
    )


@pytest.fixture
def file(front, tmp_path):
    path = tmp_path / "front.json"
    path.write_text(front.text())
    return path


def test_what_is_written_is_read(front, file):
    assert load_front(file) == front


def test_the_form_of_the_file(front, file):
    table = json.loads(file.read_text())
    assert table["schema"] == "tdse.front/1"
    first = table["entries"][0]
    assert first.pop("placement") == json.loads(
        front.entries[0].placement.model_dump_json(by_alias=True)
    )
    assert first == {
        "number": 1,
        "name": "placed x2",
        "measured_us": 10.0,
        "modelled_mj": 1.0,
        "predicted_us": 9.0,
        "predicted_mj": None,
    }


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda table: table.update(schema="tdse.front/2"), "not 'tdse.front/2'"),
        (lambda table: table.update(entries=[]), "entries"),
        (lambda table: table["entries"].reverse(), "entry 1 has number 2"),
        (lambda table: table["entries"][1]["placement"].pop("ops"), "ops"),
    ],
)
def test_wrong_fronts_are_refused(file, change, why):
    table = json.loads(file.read_text())
    change(table)
    file.write_text(json.dumps(table))
    with pytest.raises(PlacementError, match="not a front that tdse can use") as caught:
        load_front(file)
    assert why in caught.value.why


def test_an_entry_is_chosen_by_its_number(front, file):
    given = given_placement(GRAPH, f"{file}#2")
    assert given.placement == front.entries[1].placement
    assert given.front == front
    with pytest.raises(PlacementError) as caught:
        given_placement(GRAPH, f"{file}#3")
    assert str(caught.value) == f"{file}: the front has no placement 3; choose 1 to 2"
    with pytest.raises(PlacementError, match="cannot read the front"):
        given_placement(GRAPH, f"{file}.json#1")


def test_a_placement_by_itself_has_no_front(front, tmp_path):
    one = front.entries[0].placement
    # A file may be called like an entry of a front.
    path = tmp_path / "net#1"
    one.save(path)
    for given in (one, path, str(path)):
        found = given_placement(GRAPH, given)
        assert (found.placement, found.front) == (one, None)


def test_a_front_without_a_number_is_no_placement(file):
    with pytest.raises(PlacementError) as caught:
        given_placement(GRAPH, file)
    assert str(caught.value) == (
        f"{file}: not a placement, but a front; choose one of its placements, for example {file}#1"
    )
