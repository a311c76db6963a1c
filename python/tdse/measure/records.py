"""The record store: measured times and decided support, in SQLite under the user's cache."""

from __future__ import annotations

import contextlib
import json
import math
import os
import sqlite3
import stat
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tdse.errors import TdseError
from tdse.graph.workload import Workload
from tdse.measure.conditions import Conditions

# What each version of the schema adds to the one before; the version is SQLite's user_version.
# Version 1 was not numbered, so its statements must do on what is there already.
_MIGRATIONS = (
    """
CREATE TABLE IF NOT EXISTS conditions (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL, json TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS records (
    signature TEXT NOT NULL, target TEXT NOT NULL, threads INTEGER NOT NULL, key TEXT NOT NULL,
    kind TEXT NOT NULL, features TEXT NOT NULL, median_us REAL NOT NULL, spread_us REAL NOT NULL,
    runs INTEGER NOT NULL, conditions INTEGER NOT NULL REFERENCES conditions(id),
    measured_at REAL NOT NULL, PRIMARY KEY (signature, target, threads, key));
CREATE TABLE IF NOT EXISTS support (
    signature TEXT NOT NULL, target TEXT NOT NULL, versions TEXT NOT NULL,
    ok INTEGER NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (signature, target, versions));
""",
    # Workloads in place of features: what is learnt from a record may change, what was measured
    # does not. Earlier records keep their times, and nothing is learnt from them.
    """
ALTER TABLE records DROP COLUMN kind;
ALTER TABLE records DROP COLUMN features;
ALTER TABLE records ADD COLUMN workload TEXT;
ALTER TABLE records ADD COLUMN contention REAL NOT NULL DEFAULT 1.0;
ALTER TABLE records ADD COLUMN repeat_us REAL;
CREATE TABLE reference_times (
    key TEXT NOT NULL, threads INTEGER NOT NULL, best_us REAL NOT NULL,
    PRIMARY KEY (key, threads));
""",
    # Pairs of regions that were run side by side; ``first`` and ``second`` name what they were.
    """
CREATE TABLE pairs (
    first TEXT NOT NULL, second TEXT NOT NULL, key TEXT NOT NULL, json TEXT NOT NULL,
    measured_at REAL NOT NULL, PRIMARY KEY (first, second, key));
""",
)
_COLUMNS = "signature, target, threads, workload, median_us, spread_us, runs, contention, repeat_us"


# An operator that runs longer, in microseconds, has not been measured but made up.
_LONGEST_US = 3.6e9


@dataclass(frozen=True)
class Record:
    """One measured time; making one that cannot have been measured raises a ValueError.

    Attributes:
        signature: of the operator's slice, see ``tdse.graph.signature``.
        target: name of the target.
        threads: threads the target was given.
        workload: of the operator; None in a record of an earlier version of tdse.
        median_us: median of the runs, microseconds.
        spread_us: distance between the 10th and the 90th percentile, microseconds.
        runs: runs after the warm-up.
        contention: how disturbed the machine was, see ``tdse.measure.timing.Timing``.
        repeat_us: median of a second measurement at another moment, if there was one.
    """

    signature: str
    target: str
    threads: int
    workload: Workload | None
    median_us: float
    spread_us: float
    runs: int
    contention: float = 1.0
    repeat_us: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.median_us < _LONGEST_US or not 0 <= self.spread_us < _LONGEST_US:
            raise ValueError(f"a time of {self.median_us} us with a spread of {self.spread_us} us")
        if self.threads < 1 or self.runs < 1:
            raise ValueError(f"{self.runs} runs on {self.threads} threads")
        if not 1 <= self.contention < math.inf:
            raise ValueError(f"a contention of {self.contention}")
        if self.repeat_us is not None and not 0 < self.repeat_us < _LONGEST_US:
            raise ValueError(f"a repeated time of {self.repeat_us} us")


def cache_directory() -> Path:
    """``$XDG_CACHE_HOME/tdse``, or ``~/.cache/tdse``.

    A relative ``XDG_CACHE_HOME`` is ignored, as the XDG base directory specification demands.
    """
    base = os.environ.get("XDG_CACHE_HOME", "")
    if not os.path.isabs(base):
        base = os.path.expanduser("~/.cache")
    return Path(base) / "tdse"


def make_private(directory: Path) -> None:
    """Make a directory that only the user may enter: times tell what models somebody has.

    Raises:
        OSError: it cannot be made, or others may enter it and it belongs to one of them.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    if stat.S_IMODE(directory.stat().st_mode) & 0o077:
        directory.chmod(0o700)


class RecordStore:
    """Records and support decisions of one machine and one set of library versions.

    Several processes may use one store: SQLite serialises them, and each finished measurement is
    committed on its own.
    """

    def __init__(self, conditions: Conditions, path: Path | None = None) -> None:
        """Open the store, made where there is none.

        Raises:
            TdseError: the file cannot be opened or is not a record store.
        """
        self.path = path or cache_directory() / "records.sqlite"
        self.conditions = conditions
        self._versions = json.dumps(conditions.versions)
        with self._told():
            if path is None:
                make_private(self.path.parent)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(self.path, timeout=30.0)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._migrate()
        self._conditions_id: int | None = None

    def close(self) -> None:
        """Close the store; nothing is pending, as each record is committed when it is added."""
        self._db.close()

    def find(self, signatures: Iterable[str]) -> dict[tuple[str, str, int], Record]:
        """Records of this machine: ``(signature, target, threads)`` to the record."""
        found = {}
        for signature in set(signatures):
            for row in self._rows(
                f"SELECT {_COLUMNS} FROM records WHERE signature = ? AND key = ?",
                (signature, self.conditions.key),
            ):
                record = self._record(row)
                found[record.signature, record.target, record.threads] = record
        return found

    def of_target(self, target: str) -> list[Record]:
        """All records of ``target`` on this machine, in a fixed order."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM records WHERE target = ? AND key = ?"
            " ORDER BY signature, threads",
            (target, self.conditions.key),
        )
        return [self._record(row) for row in rows]

    def add(self, records: Sequence[Record]) -> None:
        """Keep ``records``; a newer one takes the place of the older."""
        with self._told(), self._db:
            if self._conditions_id is None:
                cursor = self._db.execute(
                    "INSERT INTO conditions (key, json) VALUES (?, ?)",
                    (self.conditions.key, json.dumps(asdict(self.conditions))),
                )
                self._conditions_id = cursor.lastrowid
            self._db.executemany(
                f"INSERT OR REPLACE INTO records ({_COLUMNS}, key, conditions, measured_at)"
                " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
                [
                    (
                        record.signature,
                        record.target,
                        record.threads,
                        record.workload.to_json() if record.workload else None,
                        record.median_us,
                        record.spread_us,
                        record.runs,
                        record.contention,
                        record.repeat_us,
                        self.conditions.key,
                        self._conditions_id,
                        time.time(),
                    )
                    for record in records
                ],
            )

    def find_support(self, signature: str, target: str) -> tuple[bool, str] | None:
        """The remembered decision, with its reason, or None."""
        rows = self._rows(
            "SELECT ok, reason FROM support WHERE signature = ? AND target = ? AND versions = ?",
            (signature, target, self._versions),
        )
        return (bool(rows[0][0]), rows[0][1]) if rows else None

    def add_support(self, decisions: Sequence[tuple[str, str, bool, str]]) -> None:
        """Remember decisions ``(signature, target, ok, reason)``."""
        with self._told(), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO support VALUES (?,?,?,?,?)",
                [
                    (signature, target, self._versions, int(ok), reason)
                    for signature, target, ok, reason in decisions
                ],
            )

    def best_reference_us(self, threads: int) -> float:
        """The best time of the reference operator on this machine, inf where it is not known."""
        rows = self._rows(
            "SELECT best_us FROM reference_times WHERE key = ? AND threads = ?",
            (self.conditions.key, str(threads)),
        )
        return float(rows[0][0]) if rows else math.inf

    def add_reference(self, threads: int, best_us: float) -> None:
        """Remember the best time of the reference operator."""
        with self._told(), self._db:
            self._db.execute(
                "INSERT INTO reference_times VALUES (?,?,?) ON CONFLICT DO UPDATE"
                " SET best_us = min(best_us, excluded.best_us)",
                (self.conditions.key, threads, best_us),
            )

    def pairs(self) -> dict[tuple[str, str], str]:
        """Names of two regions to what was measured of them side by side, on this machine."""
        rows = self._rows(
            "SELECT first, second, json FROM pairs WHERE key = ? ORDER BY first, second",
            (self.conditions.key,),
        )
        return {(first, second): text for first, second, text in rows}

    def add_pair(self, first: str, second: str, text: str) -> None:
        """Remember what was measured of two regions, as JSON."""
        with self._told(), self._db:
            self._db.execute(
                "INSERT OR REPLACE INTO pairs VALUES (?,?,?,?,?)",
                (first, second, self.conditions.key, text, time.time()),
            )

    def _migrate(self) -> None:
        """Bring the file to the newest version of the schema, in one transaction a version."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise TdseError(
                "the record store was written by a newer tdse",
                where=str(self.path),
                why=f"its schema has version {version}, this tdse knows {len(_MIGRATIONS)}",
                hint="update tdse, or point XDG_CACHE_HOME elsewhere",
            )
        for number in range(version, len(_MIGRATIONS)):
            self._db.executescript(
                f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT"
            )

    def _rows(self, query: str, values: tuple[str, ...]) -> list[tuple[Any, ...]]:
        with self._told():
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Turn what SQLite raises into an error that says what to do."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise TdseError(
                "the record store cannot be used",
                where=str(self.path),
                why=str(error),
                hint="free some space, delete the file, or point XDG_CACHE_HOME elsewhere",
            ) from None

    def _record(self, row: tuple[Any, ...]) -> Record:
        signature, target, threads, text, *numbers = row
        try:
            workload = None if text is None else Workload.from_json(text)
            return Record(signature, target, threads, workload, *numbers)
        except (TypeError, ValueError) as error:
            raise TdseError(
                "the record store holds what cannot have been measured",
                where=str(self.path),
                why=f"{signature[:8]} on {target}: {error}",
                hint="delete the file; everything is measured again",
            ) from None
