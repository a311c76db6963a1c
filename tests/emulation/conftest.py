"""A board of two devices with a link, on which a small model takes some milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tdse.platform import Platform, load_platform

# On tiny_conv_int8 and branches, steps take 1 to 10 ms: what this machine adds is little of that.
BOARD = """\
name = "slow-board"

[[devices]]
name = "cpu"
cores = 2
idle_w = 1.0
active_w_per_core = 1.0

[devices.emulated]
conv_macs_per_us = 50
depthwise_macs_per_us = 10
dense_macs_per_us = 10
bytes_per_us = 4
launch_us = 500

[[devices]]
name = "npu"
active_w_per_core = 2.0

[devices.emulated]
conv_macs_per_us = 80
depthwise_macs_per_us = 10
dense_macs_per_us = 10
bytes_per_us = 4
launch_us = 1000
kinds = ["conv2d", "depthwise_conv2d", "add", "fully_connected"]
dtypes = ["int8"]

[[links]]
between = ["cpu", "npu"]
bandwidth_bytes_per_s = 5e6
latency_us = 500
"""


@pytest.fixture(scope="session")
def board_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The board as a platform file."""
    path = tmp_path_factory.mktemp("board") / "slow-board.toml"
    path.write_text(BOARD)
    return path


@pytest.fixture(scope="session")
def board(board_file: Path) -> Platform:
    """The board."""
    return load_platform(str(board_file))


@pytest.fixture
def changed_board(tmp_path: Path) -> Callable[[str, str], Platform]:
    """The board with a text of its file replaced."""

    def change(old: str, new: str) -> Platform:
        assert old in BOARD
        path = tmp_path / "changed.toml"
        path.write_text(BOARD.replace(old, new))
        return load_platform(str(path))

    return change
