"""No space, no home, nothing writable: clear errors, and nothing half-written."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import demand_right, one_line_error, tdsec

pytestmark = pytest.mark.tvm


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    directory = tmp_path / "disk"
    directory.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a file system")
    yield directory
    subprocess.run(["umount", str(directory)], check=True)


def _fill(directory: Path) -> None:
    with pytest.raises(OSError, match="No space"), (directory / "fill").open("wb") as file:
        while True:
            file.write(b"\0" * 4096)
            file.flush()


def test_no_space_for_the_output(small_disk: Path, tiny_float: Path, tmp_path: Path) -> None:
    _fill(small_disk)
    before = sorted(small_disk.iterdir())
    error = one_line_error(tdsec(tiny_float, "-o", small_disk / "out", cache=tmp_path))
    assert f"{small_disk}: there is too little space: 0 MiB are free" in error
    assert sorted(small_disk.iterdir()) == before


def test_no_space_for_temporary_files(small_disk: Path, tiny_float: Path, tmp_path: Path) -> None:
    process = tdsec(tiny_float, "-o", tmp_path / "out", cache=tmp_path, TMPDIR=str(small_disk))
    assert f"{small_disk}: there is too little space" in one_line_error(process)
    assert not (tmp_path / "out").exists()


def test_no_space_for_records(small_disk: Path, tiny_float: Path, tmp_path: Path) -> None:
    (small_disk / "tdse").mkdir()
    (small_disk / "tdse" / "measuring.lock").touch()
    _fill(small_disk)
    error = one_line_error(tdsec(tiny_float, "-o", tmp_path / "out", cache=small_disk))
    assert "the record store cannot be used" in error
    assert not (tmp_path / "out").exists()


def test_records_that_cannot_be_written(small_disk: Path, tiny_float: Path, tmp_path: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    error = one_line_error(tdsec(tiny_float, "-o", tmp_path / "out", cache=small_disk))
    assert "Read-only file system" in error
    assert "XDG_CACHE_HOME" in error


def test_no_home(tiny_float: Path, tmp_path: Path) -> None:
    process = tdsec(tiny_float, "-o", tmp_path / "out", cache=None, HOME="/proc/none")
    assert "/proc/none/.cache/tdse" in one_line_error(process)
    assert not (tmp_path / "out").exists()


def test_a_terminal_sees_progress(tiny_float: Path, tmp_path: Path) -> None:
    """Every stage has words; on a pipe nothing is shown, so this needs a terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "tdse.cli.tdsec",
            str(tiny_float),
            "-o",
            str(tmp_path / "out"),
            "--budget",
            "10",
        ],
        stdout=subprocess.PIPE,
        stderr=theirs,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path), "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 4096)
        except OSError:
            break
    process.communicate()
    os.close(ours)
    assert process.returncode == 0, shown
    for words in (b"asking the targets", b"measuring", b"timing candidates", b"writing"):
        assert words in shown
    demand_right(tmp_path / "out", tiny_float)
