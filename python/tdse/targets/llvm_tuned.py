"""Tiles of convolutions that were found by measuring, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass

from .kernel_cache import TUNED
from .llvm_arithmetic import Arithmetic
from .llvm_conv import Conv, Tiles
from .llvm_conv_tiles import choose_tiles
from .llvm_isa import Isa


@dataclass(frozen=True)
class TunedTiles:
    """What tuning found for a kernel.

    Attributes:
        tiles: the fastest.
        trials: how many others were tried, in the order of ``ranked_tiles``.
        gain: time of the kernel without tuning over that with it; 1 where nothing was better.
    """

    tiles: Tiles
    trials: int
    gain: float


def best_tiles(shape: Conv, how: Arithmetic, isa: Isa) -> Tiles:
    """Those that tuning found, else the best by the model of a core."""
    tuned = find_tuned(shape, how, isa)
    return tuned.tiles if tuned else choose_tiles(shape, how, isa)


def find_tuned(shape: Conv, how: Arithmetic, isa: Isa) -> TunedTiles | None:
    """What tuning found, if it was done."""
    kept = TUNED.find(_key(shape, how, isa))
    if kept is None:
        return None
    value = json.loads(kept)
    return TunedTiles(Tiles(**value["tiles"]), value["trials"], value["gain"])


def keep_tuned(shape: Conv, how: Arithmetic, isa: Isa, tuned: TunedTiles) -> None:
    """Keep what tuning found, for this and for later processes."""
    TUNED.keep([(_key(shape, how, isa), json.dumps(asdict(tuned)).encode())])


def _key(shape: Conv, how: Arithmetic, isa: Isa) -> str:
    # The tiles that a kernel can have are part of it: code of another tdse may have others.
    parts = asdict(shape), asdict(how), str(isa.target), asdict(choose_tiles(shape, how, isa))
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
