"""What it costs to carry tensors to a device with memory of its own, and back."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from tdse.measure.links import Transfer, measure_transfers
from tdse.measure.records import Record, RecordStore
from tdse.targets import get_target

# From what a transfer costs anyway to what only its bytes cost.
SIZES = (64, 4 << 10, 64 << 10, 1 << 20, 4 << 20)


@dataclass(frozen=True)
class TransferTimes:
    """Microseconds of one transfer of each of ``SIZES``."""

    to_device_us: tuple[float, ...]
    from_device_us: tuple[float, ...]


def device_transfers(targets: Sequence[str], store: RecordStore) -> dict[str, TransferTimes]:
    """Times for those of ``targets`` whose devices have memory of their own.

    They are taken from the records where these have them, measured otherwise, and kept.
    """
    found = {}
    for name in targets:
        target = get_target(name)
        if not hasattr(target, "transfers"):
            continue
        known = find_transfers(name, store)
        if known is None:
            for direction, transfer in zip(_DIRECTIONS, target.transfers(), strict=True):
                _measure(direction, transfer, name, store)
            known = find_transfers(name, store)
            assert known is not None, "they were just measured"
        found[name] = known
    return found


def find_transfers(target: str, store: RecordStore) -> TransferTimes | None:
    """The times of which there are records; None unless there are those of all sizes."""
    records = store.find([_key(direction, size) for direction in _DIRECTIONS for size in SIZES])
    keys = [[(_key(way, size), target, 1) for size in SIZES] for way in _DIRECTIONS]
    if not all(key in records for way in keys for key in way):
        return None
    return TransferTimes(*(tuple(records[key].median_us for key in way) for way in keys))


_DIRECTIONS = ("to device", "from device")


def _measure(direction: str, transfer: Transfer, target: str, store: RecordStore) -> None:
    times_us = measure_transfers(transfer, SIZES)
    store.add(
        [
            Record(_key(direction, size), target, 1, (), time_us, 0.0, 1)
            for size, time_us in zip(SIZES, times_us, strict=True)
        ]
    )


def _key(direction: str, size: int) -> str:
    """Stands where the signature of an operator would."""
    return hashlib.sha256(f"transfer {direction}: {size} bytes".encode()).hexdigest()
