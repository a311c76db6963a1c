"""The report: a page that is whole, loads nothing, and says what the metadata say."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

import tdse
from placed import compile_on
from tdse.cli import main as tdse_command
from tdse.errors import ModelError
from tdse.graph.reader import read_tflite
from tdse.report.layers import Spot, layers, layout
from tdse.report.text import escaped, table, time_text

pytestmark = [pytest.mark.tvm, pytest.mark.usefixtures("record_store_of_module")]
ModelPath = Callable[[str], Path]
_VOID = {"meta", "br", "rect", "path"}


class _Page(HTMLParser):
    """Collects texts of cells, ids and links, and refuses elements that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.loaded: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if given.get("id"):
            self.ids.append(str(given["id"]))
        if tag == "a":
            self.links.append(str(given["href"]))
        if "src" in given or tag == "link":
            self.loaded.append(tag)
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def out(
    record_store_of_module: None, tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("report") / "out"
    tdse.compile(tiny_conv_int8, out=out, budget_s=1, threads=1)
    return out


def test_it_shows_what_the_metadata_say(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tdse_command.main(["report", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    text = Path(told["report"]).read_text(encoding="utf-8")
    assert told["size_bytes"] == len(text.encode()) < 100_000
    page = _Page(text)
    assert not page.loaded
    assert not re.search(r"https?:", text)
    metadata = json.loads((out / "metadata.json").read_text())
    contest = next(t for t in page.tables if t[0][0] == "candidate")
    for row, told_row in zip(metadata["contest"], contest[1:], strict=True):
        assert told_row[0] == row["name"] + (" (won)" if row["won"] else "")
        if row.get("measured_us"):
            assert told_row[5] == time_text(row["measured_us"])
    costs = metadata["op_costs"]
    operators = next(t for t in page.tables if t[0][0] == "operator")
    first = costs["places"].index("litert")
    for i, told_row in enumerate(operators[1:]):
        assert told_row[3 + first].startswith(time_text(costs["cost_us"][i][first]))
    # Every operator of the picture leads to its row.
    assert len(page.links) == metadata["model"]["ops"] == len(operators) - 1
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    regions = next(t for t in page.tables if t[0][0] == "region")
    assert len(regions) - 1 == len(json.loads((out / "placement.json").read_text())["regions"])
    median = regions[0].index("time, measured (median)")
    assert all(row[median].endswith(("us", "ms")) for row in regions[1:])
    # A region was predicted as the sum of what its operators add, and its border.
    border = regions[0].index("of which launch and border")
    assert all(row[border].endswith("us") for row in regions[1:])


def test_the_artefact_stays_whole(out: Path, tmp_path: Path) -> None:
    saved = tmp_path / "page.html"
    assert tdse_command.main(["report", str(out), "--save", str(saved)]) == 0
    assert saved.is_file()
    tdse.load(out)


def test_a_missing_model(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tdse_command.main(["report", str(out), "--model", str(tmp_path / "gone")]) == 1
    assert "say where it is with --model" in capsys.readouterr().err
    with pytest.raises(ModelError):
        tdse.report.write_report(out, model=tmp_path / "gone")


def test_an_emulated_board_says_so_and_has_the_alternatives(
    tiny_conv_int8: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    tdse.compile(
        tiny_conv_int8, out=out, platform="rpi4-coral-usb3", emulate="correctness", budget_s=2
    )
    assert tdse_command.main(["report", str(out)]) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    assert "emulated: rpi4-coral-usb3, correctness" in text
    operators = next(t for t in _Page(text).tables if t[0][0] == "operator")
    assert {"on cpu x1", "on edgetpu x1", "on tpu x1"} & set(operators[0])
    assert "modelled" in operators[1][3]


def test_names_are_shown_and_not_obeyed(model_path: ModelPath, tmp_path: Path) -> None:
    model = tmp_path / "<script>alert(1)<" / "script>.tflite"
    model.parent.mkdir()
    model.write_bytes(model_path("hostile_names").read_bytes())
    out = compile_on("litert", model, tmp_path / "out")
    assert tdse_command.main(["report", str(out)]) == 0
    text = (out / "report.html").read_text(encoding="utf-8")
    assert text.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in text
    assert _Page(text).tables
    assert "\x1b" not in text and "\u202e" not in text


def test_texts_are_escaped() -> None:
    assert escaped("<b>&\"'\x1b") == "&lt;b&gt;&amp;&quot;&#x27;\\x1b"
    assert "<b>" not in table("<b>", ["<b>"], [["<b>", "<b>"]], ids=["<b>"])


@pytest.mark.parametrize("name", ["tiny_conv_int8", "branches", "two_inputs_two_outputs"])
def test_operators_are_below_what_they_need_and_beside_each_other(
    name: str, model_path: ModelPath
) -> None:
    graph = read_tflite(model_path(name))
    drawn = layout(graph)
    assert drawn.layer == layers(graph)
    assert set(drawn.layer) == set(graph.placed_ops)
    assert all(drawn.layer[u] < drawn.layer[v] for u, v, _ in graph.edges)
    for op, depth in drawn.layer.items():
        for spot, column in drawn.column.items():
            if spot.layer == depth and spot.op != op:
                # Half an operator and half a wire, or another half operator.
                least = 1.0 if drawn.layer[spot.op] == depth else 0.57
                assert abs(drawn.column[Spot(op, depth)] - column) > least - 1e-9


def test_each_edge_is_a_line_through_all_layers_between(model_path: ModelPath) -> None:
    graph = read_tflite(model_path("tiny_conv_int8"))
    drawn = layout(graph)
    assert any(drawn.layer[v] - drawn.layer[u] > 1 for u, v, _ in graph.edges)
    assert all(upper.layer + 1 == lower.layer for upper, lower in drawn.lines)
    for source, sink, _ in graph.edges:
        spot = Spot(source, drawn.layer[source])
        while spot.layer + 1 < drawn.layer[sink]:
            following = Spot(source, spot.layer + 1)
            assert (spot, following) in drawn.lines
            spot = following
        assert (spot, Spot(sink, drawn.layer[sink])) in drawn.lines
