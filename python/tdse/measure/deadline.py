"""When nothing new is begun any more: at a time, or as soon as a user has waited long enough."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path


class Stop:
    """A user's wish that long work ends early, with what is known by then.

    It is a file, which the processes that do the work look for between two measurements: a signal
    would hit them in the middle of anything.
    """

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="tdse-stop-")
        self.file = Path(self._directory.name) / "asked"

    def ask(self) -> None:
        """Have the work end early."""
        self.file.touch()

    @property
    def is_asked(self) -> bool:
        """Whether it is to end early."""
        return self.file.exists()


@dataclass(frozen=True)
class Deadline:
    """After which nothing new is begun.

    Attributes:
        at_s: by ``time.monotonic()``.
        stop: the file of a ``Stop``, whose presence ends it at once; None for no such wish.
    """

    at_s: float
    stop: Path | None = None

    @property
    def is_over(self) -> bool:
        """Whether it has passed."""
        return time.monotonic() > self.at_s or (self.stop is not None and self.stop.exists())

    @property
    def left_s(self) -> float:
        """Seconds until then, unless a user asks for an early end; 0 afterwards."""
        return max(0.0, self.at_s - time.monotonic())
