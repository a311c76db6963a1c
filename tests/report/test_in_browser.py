"""The report in a browser: nothing fails, an operator's times are a click away, all can read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tdse
from modelkit import NetworkBuilder
from placed import compile_on
from tdse.report import write_report
from tdse.report.text import time_text

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
axe = pytest.importorskip("axe_playwright_python", reason="axe-playwright-python is not installed")

_CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.tvm,
    pytest.mark.usefixtures("record_store_of_module"),
    pytest.mark.skipif(_CHROMIUM is None, reason="there is no Chromium"),
]
_GRAVE = ("serious", "critical")
_DESKTOP, _PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        # Chromium's sandbox does not start for root, as which containers run tests.
        opened = started.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def board(
    record_store_of_module: None, tiny_conv_int8: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """An artefact of an emulated board of two devices, and its report."""
    out = tmp_path_factory.mktemp("browser") / "out"
    tdse.compile(
        tiny_conv_int8, out=out, platform="rpi4-coral-usb3", emulate="correctness", budget_s=2
    )
    write_report(out)
    return out


@pytest.fixture(scope="module")
def large(record_store_of_module: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artefact of a model of more than 1,000 operators with long skips, and its report."""
    network = NetworkBuilder(seed=5)
    x = early = network.input("image", np.ones((2, 4, 4, 2), np.float32))
    for i in range(510):
        x = network.add(network.relu(x, name=f"relu{i}"), early, name=f"add{i}")
        early = x if i % 50 == 0 else early
    directory = tmp_path_factory.mktemp("large")
    model = directory / "large.tflite"
    model.write_bytes(network.float32({"sum": x}, "large"))
    out = compile_on("litert", model, directory / "out")
    write_report(out)
    return out


def _open(
    browser: Any, out: Path, *, size: dict[str, int], scheme: str = "light", **options: Any
) -> tuple[Any, list[str]]:
    page = browser.new_page(viewport=size, color_scheme=scheme, **options)
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: faults.append(request.url))
    page.goto((out / "report.html").as_uri())
    # The page itself is the only thing that is asked for.
    assert faults.pop(0).endswith("report.html")
    return page, faults


def test_a_click_shows_the_times_of_an_operator(browser: Any, board: Path) -> None:
    page, faults = _open(browser, board, size=_DESKTOP)
    costs = json.loads((board / "metadata.json").read_text())["op_costs"]
    assert page.locator("#detail").is_hidden()
    for row in (0, 1):
        op = costs["ops"][row]
        page.locator(f"#graph a[data-op='{op}']").click()
        shown = dict(
            zip(
                page.locator("#detail dt").all_inner_texts(),
                page.locator("#detail dd").all_inner_texts(),
                strict=True,
            )
        )
        for place, threads, cost_us in zip(
            costs["places"], costs["threads"], costs["cost_us"][row], strict=True
        ):
            if cost_us is not None:
                assert shown[f"on {place} x{threads}"].startswith(time_text(cost_us))
    page.keyboard.press("Escape")
    assert page.locator("#detail").is_hidden()
    assert not faults
    page.close()


def test_the_graph_zooms(browser: Any, large: Path) -> None:
    page, faults = _open(browser, large, size=_DESKTOP)
    before = page.locator("#graph").bounding_box()["width"]
    page.get_by_role("button", name="larger").click()
    assert page.locator("#graph").bounding_box()["width"] == pytest.approx(1.4 * before, rel=1e-3)
    assert not faults
    page.close()


def test_a_large_model_opens_and_can_be_asked(browser: Any, large: Path) -> None:
    assert (large / "report.html").stat().st_size < 3_000_000
    page, faults = _open(browser, large, size=_PHONE, scheme="dark")
    assert page.locator("#graph a").count() > 1000
    assert page.evaluate("document.querySelectorAll('*').length") < 20_000
    page.locator("#graph a").last.click()
    assert page.locator("#detail h3").inner_text().endswith(":add")
    assert not faults
    page.close()


@pytest.mark.parametrize(("size", "scheme"), [(_DESKTOP, "light"), (_PHONE, "dark")])
def test_nothing_serious_keeps_anybody_from_reading_it(
    browser: Any, board: Path, size: dict[str, int], scheme: str
) -> None:
    page, _ = _open(browser, board, size=size, scheme=scheme, bypass_csp=True)
    # The page scrolls in one direction only.
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rules = (Path(axe.__file__).parent / "axe.min.js").read_text(encoding="utf-8")
    page.add_script_tag(content=rules)
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")
    assert found["passes"]
    grave = [rule["id"] for rule in found["violations"] if rule["impact"] in _GRAVE]
    assert not grave
    page.close()


def test_without_scripts_the_tables_are_there(browser: Any, board: Path) -> None:
    page, faults = _open(browser, board, size=_DESKTOP, java_script_enabled=False)
    page.locator("#graph a").first.click()
    assert page.locator("tr:target").count() == 1
    assert not faults
    page.close()
