"""What ``tdse doctor`` finds on machines of all kinds, and that it says what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tdse.cli import main as tdse_command
from tdse.doctor import Finding, examine
from tdse.targets import get_target
from tdse.targets.base import target_names

pytestmark = pytest.mark.tvm


def _one(findings: tuple[Finding, ...], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


def _machine(root: Path, governor: str, free_kib: int) -> Path:
    (root / "proc").mkdir(parents=True)
    text = f"MemTotal: 4194304 kB\nMemAvailable: {free_kib} kB\n"
    (root / "proc/meminfo").write_text(text)
    for core in range(256):
        scaling = root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        scaling.mkdir(parents=True)
        (scaling / "scaling_governor").write_text(governor + "\n")
    return root


def test_each_target_is_there_or_says_why_not_and_what_to_install() -> None:
    findings = [finding for finding in examine() if finding.topic == "target"]
    assert [finding.name for finding in findings] == list(target_names())
    for finding in findings:
        support = get_target(finding.name).available()
        assert finding.ok == support.ok
        assert finding.found == (support.reason or "ready")
        assert bool(finding.advice) != support.ok


@pytest.mark.parametrize(("governor", "ok"), [("performance", True), ("powersave", False)])
def test_the_governor(governor: str, ok: bool, tmp_path: Path) -> None:
    finding = _one(examine(_machine(tmp_path, governor, 2 << 20)), "governor")
    assert (finding.ok, finding.found) == (ok, governor)
    assert ("performance" in finding.advice) != ok


@pytest.mark.parametrize(("free_kib", "ok"), [(2 << 20, True), (1 << 18, False)])
def test_free_memory(free_kib: int, ok: bool, tmp_path: Path) -> None:
    finding = _one(examine(_machine(tmp_path, "performance", free_kib)), "free memory")
    assert finding.ok == ok
    assert finding.found == f"{free_kib / 2**20:.1f} of 4.0 GiB"


def test_no_linker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    finding = _one(examine(), "linker")
    assert not finding.ok
    assert "apt-get install g++" in finding.advice


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert tdse_command.main(["doctor", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["findings"]
    assert {one["topic"] for one in told} >= {"software", "machine", "target"}
    assert tdse_command.main(["doctor"]) == 0
    text = capsys.readouterr().out
    assert all(one["name"] in text for one in told)
