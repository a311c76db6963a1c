"""One figure, one source: whatever shows an artefact shows what its metadata and placement hold."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

import tdse
from tdse.cli import main as tdse_command
from tdse.cli import tdsec
from tdse.cli.common import Output
from tdse.report.text import time_text

pytestmark = [pytest.mark.tvm, pytest.mark.usefixtures("record_store_of_module")]


class _Tables(HTMLParser):
    """Rows of a page's tables, by the first head and the first cell, as head to text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._cell = False
        self._rows: list[list[str]] = []
        self.rows: dict[tuple[str, str], dict[str, str]] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self._rows = []
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._rows[-1].append("")
        self._cell = tag in ("td", "th")

    def handle_endtag(self, tag: str) -> None:
        self._cell = False
        if tag == "table":
            heads, *rows = self._rows
            for row in rows:
                self.rows[heads[0], row[0]] = dict(zip(heads, row, strict=True))

    def handle_data(self, data: str) -> None:
        if self._cell:
            self._rows[-1][-1] += data


@pytest.fixture(scope="module")
def told(
    record_store_of_module: None, tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """An artefact, and what each of the commands says of it, as JSON or as the file it wrote."""
    directory = tmp_path_factory.mktemp("figures")
    out = directory / "out"
    answers: dict[str, Any] = {"out": out}

    def keep(self: Output, kind: str, value: Any, show: Any) -> None:
        # As --json would print it.
        answers[kind] = json.loads(json.dumps(value))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Output, "answer", keep)
        words = ["--budget", "1", "--threads", "1", "--targets", "litert,llvm"]
        assert tdsec.main([str(tiny_conv_int8), "-o", str(out), *words]) == 0
        once = ["--launches", "1", "--seconds", "0.1"]
        for command in (
            ["report", str(out)],
            ["export", str(out), str(directory / "placed.tflite")],
            ["run", str(out), "--trace", str(directory / "trace.json")],
            ["diff", str(out), str(out), *once],
            ["bench", str(out), "--against", "litert", *once],
        ):
            assert tdse_command.main(command) == 0
    answers["file"] = json.loads((out / "metadata.json").read_text())
    answers["placement"] = json.loads((out / "placement.json").read_text())
    answers["trace"] = json.loads((directory / "trace.json").read_text())["traceEvents"]
    answers["tables"] = _Tables((out / "report.html").read_text(encoding="utf-8")).rows
    model = schema.ModelT.InitFromObj(
        schema.Model.GetRootAsModel((directory / "placed.tflite").read_bytes(), 0)
    )
    answers["notes"] = {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode()
        for entry in model.metadata or []
    }
    return answers


def test_tdsec_prints_the_metadata(told: dict[str, Any]) -> None:
    assert told["metadata"] == {"out": str(told["out"]), **told["file"]}


def test_candidates(told: dict[str, Any]) -> None:
    for row in told["file"]["contest"]:
        name = row["name"] + (" (won)" if row["won"] else "")
        shown = told["tables"]["candidate", name]
        assert shown["predicted"] == time_text(row["predicted_us"])
        if "measured_us" in row:
            assert shown["measured"] == time_text(row["measured_us"])
            value, low, high = row["ratio_to_winner"]
            assert shown["time / winner's"] == f"{value:.2f} [{low:.2f}, {high:.2f}]"


def test_predicted_runs(told: dict[str, Any]) -> None:
    run_us = told["file"]["predicted_us"]
    assert told["placement"]["predicted_us"] == run_us
    assert told["tables"]["what", "a run (predicted)"]["value"] == time_text(run_us)
    assert told["diff"]["one"]["predicted_us"] == told["diff"]["two"]["predicted_us"] == run_us


def test_predicted_regions(told: dict[str, Any]) -> None:
    names = [region["name"] for region in told["bench"]["regions"]]
    predicted = {
        event["name"]: event for event in told["trace"] if event["ph"] == "X" and event["pid"] == 1
    }
    for name, region in zip(names, told["placement"]["regions"], strict=True):
        shown = told["tables"]["region", name]
        assert shown["operators"] == str(len(region["ops"]))
        assert shown["where"] == f"{region['target']} on {region['device']}"
        if region["predicted_us"] is not None:
            assert shown["time, predicted"] == time_text(region["predicted_us"])
            assert predicted[name]["dur"] == pytest.approx(region["predicted_us"])


def test_operators(told: dict[str, Any]) -> None:
    costs = told["file"]["op_costs"]
    for row, op in enumerate(told["placement"]["ops"]):
        column = costs["places"].index(op["target"])
        cost_us, source = costs["cost_us"][row][column], costs["source"][row][column]
        place = f"{op['target']} on {op['device']}"
        head = f"on {op['target']} x{costs['threads'][column]}"
        shown = told["tables"]["operator", op["label"]]
        assert shown["runs"] == place
        assert shown[head].startswith(f"{time_text(cost_us)} {source}")
        note = told["notes"][f"tdse {op['label']}"]
        assert note.startswith(f"{place}, region {shown['region']}, {cost_us:.1f} us {source}")


def test_places_and_sizes(told: dict[str, Any]) -> None:
    places = told["diff"]["one"]["places"]
    shown = told["tables"]["what", "operators"]["value"]
    assert sorted(shown.split(", ")) == sorted(f"{n} {place}" for place, n in places.items())
    size = told["diff"]["one"]["module_bytes"]
    assert size == (told["out"] / "model.so").stat().st_size
    assert told["tables"]["what", "model.so"]["value"] == f"{size / 1e6:.2f} MB"


def test_a_measured_time_of_the_contest_is_nobody_else_s(told: dict[str, Any]) -> None:
    """What is measured anew, by bench and diff, is told beside it and not in its place."""
    won = next(row for row in told["file"]["contest"] if row["won"])
    head = next(key for key in told["tables"] if "measured in the contest" in key[1])
    assert told["tables"][head]["value"] == time_text(won["measured_us"])
    assert won["measured_us"] not in [row.get("median_us") for row in told["bench"]["contenders"]]
    assert tdse.load(told["out"]).metadata["contest"] == told["file"]["contest"]
