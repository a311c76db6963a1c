"""What memory a runtime module takes, measured in a process of its own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tdse.worker import run_worker

_LIMIT_S = 300.0


@dataclass(frozen=True)
class MemoryReading:
    """Growth of a fresh process that loads a runtime module and runs it a few times; bytes.

    Pages of files, which the system may drop and other processes share, are in the resident figures
    and not in the private ones.

    Attributes:
        runtime_bytes: resident, once tdse's library is loaded and before the module is.
        peak_bytes: largest resident memory, loading included.
        resident_bytes: resident after the runs.
        runtime_private_bytes: of ``runtime_bytes``, memory that no file backs.
        private_bytes: of ``resident_bytes``, likewise.
        arena_bytes: the executor's memory for tensors between regions.
    """

    runtime_bytes: int
    peak_bytes: int
    resident_bytes: int
    runtime_private_bytes: int
    private_bytes: int
    arena_bytes: int


def measure_memory(module: Path) -> MemoryReading:
    """Load and run the runtime module at ``module`` on random inputs in a fresh process.

    Raises:
        TdseError: the process failed; its last line of error output is the reason.
    """
    reading = run_worker(
        "tdse.measure.memory_worker",
        str(module.absolute()),
        doing="measuring memory",
        limit_s=_LIMIT_S,
        where=str(module),
    )
    return MemoryReading(**reading)
