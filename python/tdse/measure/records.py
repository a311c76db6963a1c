"""The record store: measured times and decided support, in SQLite under the user's cache."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tdse.errors import TdseError
from tdse.faults import faults_of
from tdse.files import cache_directory, make_private
from tdse.graph.workload import Workload
from tdse.measure.conditions import Conditions
from tdse.measure.schema import MOVE_AWAY, open_store, told
from tdse.platform.model import Device
from tdse.platform.opencl import target_identity
from tdse.versions import parse

# The file in the user's cache.
STORE = "records.sqlite"
_COLUMNS = (
    "signature, target, threads, workloads, median_us, spread_us, runs, contention, repeat_us"
)
_CONDITIONS = TypeAdapter(Conditions)


# An operator that runs longer, in microseconds, has not been measured but made up.
LONGEST_US = 3.6e9


@dataclass(frozen=True)
class Record:
    """One measured time, of an operator or of a region of several.

    Making one that cannot have been measured raises a ValueError.

    Attributes:
        signature: of the operator or region, see ``tdse.graph.signature``.
        target: name of the target.
        threads: threads the target was given.
        workloads: of the operators, in the order they run; none in a record of an earlier version
            of tdse.
        median_us: median of the runs, microseconds.
        spread_us: distance between the 10th and the 90th percentile, microseconds.
        runs: runs after the warm-up.
        contention: how disturbed the machine was, see ``tdse.measure.timing.Timing``.
        repeat_us: median of a second measurement at another moment, if there was one.
    """

    signature: str
    target: str
    threads: int
    workloads: tuple[Workload, ...]
    median_us: float
    spread_us: float
    runs: int
    contention: float = 1.0
    repeat_us: float | None = None

    def __post_init__(self) -> None:
        if not 0 < self.median_us < LONGEST_US or not 0 <= self.spread_us < LONGEST_US:
            raise ValueError(f"a time of {self.median_us} us with a spread of {self.spread_us} us")
        if self.threads < 1 or self.runs < 1:
            raise ValueError(f"{self.runs} runs on {self.threads} threads")
        if not 1 <= self.contention < math.inf:
            raise ValueError(f"a contention of {self.contention}")
        if self.repeat_us is not None and not 0 < self.repeat_us < LONGEST_US:
            raise ValueError(f"a repeated time of {self.repeat_us} us")


@dataclass(frozen=True)
class KeptRecord:
    """A record with what it was measured under.

    Attributes:
        record: the time.
        conditions: under which it was measured.
        measured_at: when, seconds since 1970.
    """

    record: Record
    conditions: Conditions
    measured_at: float


@dataclass(frozen=True)
class Decision:
    """What a target said of an operator, or what running it showed.

    Attributes:
        signature: as of ``Record``.
        target: name of the target.
        ok: it may run the operator.
        reason: why not.
        decided_at: when, seconds since 1970; 0 where it is not known.
    """

    signature: str
    target: str
    ok: bool
    reason: str
    decided_at: float


@dataclass(frozen=True)
class ReferenceTime:
    """The best time of the reference operator: what a quiet machine takes.

    Attributes:
        threads: of the operator.
        best_us: microseconds.
    """

    threads: int
    best_us: float


@dataclass(frozen=True)
class Machine:
    """A machine with records in the store.

    Attributes:
        conditions: of its newest record.
        records: their number.
        measured_at: when the newest was measured, seconds since 1970.
    """

    conditions: Conditions
    records: int
    measured_at: float


class RecordStore:
    """Records and support decisions of one machine and one set of library versions.

    The file may hold those of other machines, each under the key of its conditions; they are found
    by a store that is opened with these conditions, and by no other.

    Several processes may use one store: SQLite serialises them, and each finished measurement is
    committed on its own.
    """

    def __init__(self, conditions: Conditions, path: Path | None = None) -> None:
        """Open the store, made where there is none.

        Args:
            conditions: of this machine, or what ``conditions_for`` gave for another one.
            path: the file; by default the user's.

        Raises:
            TdseError: the file cannot be read and written, is damaged, or is of a newer version.
        """
        self.path = path or cache_directory() / STORE
        self.conditions = conditions
        with told(self.path):
            if path is None:
                make_private(self.path.parent)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
        self._db = open_store(self.path)
        self._conditions_id: int | None = None
        self._keys: dict[str, str] = {}

    def close(self) -> None:
        """Close the store; nothing is pending, as each record is committed when it is added."""
        self._db.close()

    def find(self, signatures: Iterable[str]) -> dict[tuple[str, str, int], Record]:
        """Records of this machine: ``(signature, target, threads)`` to the record."""
        found = {}
        for signature in set(signatures):
            for row in self._rows(
                f"SELECT {_COLUMNS}, key FROM records WHERE signature = ? AND key GLOB ?",
                (signature, f"{self.conditions.key}*"),
            ):
                record = self._record(row[:-1])
                if row[-1] == self._key(record.target):
                    found[record.signature, record.target, record.threads] = record
        return found

    def of_target(self, target: str) -> list[Record]:
        """All records of ``target`` on this machine, in a fixed order."""
        rows = self._rows(
            f"SELECT {_COLUMNS} FROM records WHERE target = ? AND key = ?"
            " ORDER BY signature, threads",
            (target, self._key(target)),
        )
        return [self._record(row) for row in rows]

    def of_variant(self, target: str, threads: int) -> list[Record]:
        """The records of ``target`` with that many threads on this machine, in a fixed order."""
        return [record for record in self.of_target(target) if record.threads == threads]

    def count(self, target: str, threads: int) -> int:
        """How many records there are of ``target`` with that many threads on this machine."""
        rows = self._rows(
            "SELECT count(*) FROM records WHERE target = ? AND threads = ? AND key = ?",
            (target, threads, self._key(target)),
        )
        return int(rows[0][0])

    def count_regions(self, target: str, threads: int, most_contention: float) -> int:
        """How many of ``count`` are of several operators, and measured with no more contention."""
        rows = self._rows(
            "SELECT count(*) FROM records WHERE target = ? AND threads = ? AND key = ?"
            " AND contention <= ? AND json_array_length(workloads) > 1",
            (target, threads, self._key(target), most_contention),
        )
        return int(rows[0][0])

    def count_since(self, since: float, most_contention: float) -> tuple[int, int]:
        """Records of this machine that were measured lately: all, and those among them in quiet.

        Args:
            since: seconds since 1970.
            most_contention: of a record that counts as measured in quiet.
        """
        ((number, quiet),) = self._rows(
            "SELECT count(*), count(*) FILTER (WHERE contention <= ?) FROM records"
            " WHERE key GLOB ? AND measured_at >= ?",
            (most_contention, f"{self.conditions.key}*", since),
        )
        return int(number), int(quiet)

    def add(self, records: Sequence[Record]) -> None:
        """Keep ``records``; a newer one takes the place of the older."""
        with told(self.path), self._db:
            if self._conditions_id is None:
                self._conditions_id = self._add_conditions(self.conditions)
            for record in records:
                self._put(record, self._key(record.target), self._conditions_id, time.time())

    def add_repeated(self, records: Sequence[Record]) -> None:
        """Keep the times of ``records`` beside those of equal records that there are."""
        with told(self.path), self._db:
            self._db.executemany(
                "UPDATE records SET repeat_us = ?"
                " WHERE signature = ? AND target = ? AND threads = ? AND key = ?",
                [
                    (r.median_us, r.signature, r.target, r.threads, self._key(r.target))
                    for r in records
                ],
            )

    def find_support(self, signature: str, target: str) -> tuple[bool, str] | None:
        """The remembered decision, with its reason, or None."""
        rows = self._rows(
            "SELECT ok, reason FROM support WHERE signature = ? AND target = ? AND key = ?",
            (signature, target, self._key(target)),
        )
        return (bool(rows[0][0]), rows[0][1]) if rows else None

    def add_support(self, decisions: Sequence[tuple[str, str, bool, str]]) -> None:
        """Remember decisions ``(signature, target, ok, reason)``."""
        with told(self.path), self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO support (signature, target, ok, reason, key, decided_at)"
                " VALUES (?,?,?,?,?,?)",
                [(*decision, self._key(decision[1]), time.time()) for decision in decisions],
            )

    def best_reference_us(self, threads: int) -> float:
        """The best time of the reference operator on this machine, inf where it is not known."""
        rows = self._rows(
            "SELECT best_us FROM reference_times WHERE key = ? AND threads = ?",
            (self.conditions.key, threads),
        )
        return float(rows[0][0]) if rows else math.inf

    def add_reference(self, threads: int, best_us: float) -> None:
        """Remember the best time of the reference operator."""
        with told(self.path), self._db:
            self._put_reference(ReferenceTime(threads, best_us), self.conditions.key)

    def machines(self) -> list[Machine]:
        """The machines that the file has records of, with the newest record first."""
        rows = self._rows(
            "SELECT conditions.json, count(*), max(measured_at) FROM records"
            " JOIN conditions ON conditions.id = records.conditions"
            " GROUP BY conditions.key ORDER BY max(measured_at) DESC",
            (),
        )
        return [Machine(self._conditions(text), records, newest) for text, records, newest in rows]

    def conditions_for(self, device: Device) -> Conditions:
        """The conditions that a store is opened with for the records of another machine.

        Records of a device are those of its ``model_name`` and number of cores. Where there are
        several versions of the libraries, the newest is taken, and ``versions`` of the result says
        which; where there are several governors, the one that was measured under last.

        Raises:
            TdseError: there are none; says how to get them.
        """
        known = self.machines()
        fitting = [machine for machine in known if machine.conditions.are_of(device)]
        if not fitting:
            names = sorted({f"{m.conditions.cpu} ({m.conditions.cores} cores)" for m in known})
            raise TdseError(
                f"no records of {device.model_name or device.name} ({device.cores} cores)",
                where=str(self.path),
                why=f"there are those of {', '.join(names)}" if names else "",
                hint="run `tdse profile --budget SECONDS --export FILE` on the board and "
                "`tdse profile --import FILE` here",
            )
        newest = max(
            fitting,
            key=lambda machine: (
                [parse(version) for _, version in machine.conditions.versions],
                machine.measured_at,
            ),
        )
        return newest.conditions

    def kept(self) -> list[KeptRecord | Decision | ReferenceTime]:
        """All that is known of this machine's CPU, in a fixed order.

        What was measured on other devices stays here, as a file does not say which they were.
        """
        key = (self.conditions.key,)
        conditions: dict[str, Conditions] = {}
        entries: list[KeptRecord | Decision | ReferenceTime] = []
        for *row, text, measured_at in self._rows(
            f"SELECT {_COLUMNS}, conditions.json, measured_at FROM records"
            " JOIN conditions ON conditions.id = records.conditions"
            " WHERE records.key = ? ORDER BY signature, target, threads",
            key,
        ):
            if text not in conditions:
                conditions[text] = self._conditions(text)
            entries.append(KeptRecord(self._record(row), conditions[text], measured_at))
        for signature, target, ok, reason, decided_at in self._rows(
            "SELECT signature, target, ok, reason, decided_at FROM support"
            " WHERE key = ? ORDER BY signature, target",
            key,
        ):
            entries.append(Decision(signature, target, bool(ok), reason, decided_at))
        for threads, best_us in self._rows(
            "SELECT threads, best_us FROM reference_times WHERE key = ? ORDER BY threads", key
        ):
            entries.append(ReferenceTime(threads, best_us))
        return entries

    def take(
        self, conditions: Conditions, entries: Iterable[KeptRecord | Decision | ReferenceTime]
    ) -> int:
        """Keep what another store knew of a machine; if ``entries`` raises, nothing of it is kept.

        Of two records of the same, and of two decisions, the newer stays.

        Args:
            conditions: of that machine; those of each record must have the same key.
            entries: as ``kept`` gives them.

        Returns:
            The number of records that were taken.
        """
        key = conditions.key
        numbers: dict[Conditions, int] = {}
        taken = 0
        with told(self.path), self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for entry in entries:
                if isinstance(entry, ReferenceTime):
                    self._put_reference(entry, key)
                elif isinstance(entry, Decision):
                    self._db.execute(
                        "INSERT INTO support (signature, target, ok, reason, decided_at, key)"
                        " VALUES (?,?,?,?,?,?) ON CONFLICT DO UPDATE"
                        " SET ok = excluded.ok, reason = excluded.reason,"
                        " decided_at = excluded.decided_at"
                        " WHERE excluded.decided_at > decided_at",
                        (*astuple(entry), key),
                    )
                elif self._is_newer(entry, key):
                    if entry.conditions not in numbers:
                        numbers[entry.conditions] = self._add_conditions(entry.conditions)
                    self._put(entry.record, key, numbers[entry.conditions], entry.measured_at)
                    taken += 1
        return taken

    def _key(self, target: str) -> str:
        """Of the records of a target: the machine's, and for one of its devices, that one's.

        So times of a device are not taken for those of another that gets its number.
        """
        if target not in self._keys:
            device = target_identity(target)
            self._keys[target] = self.conditions.key + (f"-{device}" if device else "")
        return self._keys[target]

    def _is_newer(self, entry: KeptRecord, key: str) -> bool:
        record = entry.record
        known = self._db.execute(
            "SELECT 1 FROM records WHERE signature = ? AND target = ? AND threads = ? AND key = ?"
            " AND measured_at >= ?",
            (record.signature, record.target, record.threads, key, entry.measured_at),
        )
        return known.fetchone() is None

    def _put(self, record: Record, key: str, conditions_id: int, measured_at: float) -> None:
        self._db.execute(
            f"INSERT OR REPLACE INTO records ({_COLUMNS}, key, conditions, measured_at)"
            " VALUES (?,?,?,?,?,?,?,?,?,?,?,?)",
            (
                record.signature,
                record.target,
                record.threads,
                json.dumps([each.to_row() for each in record.workloads]),
                record.median_us,
                record.spread_us,
                record.runs,
                record.contention,
                record.repeat_us,
                key,
                conditions_id,
                measured_at,
            ),
        )

    def _put_reference(self, reference: ReferenceTime, key: str) -> None:
        self._db.execute(
            "INSERT INTO reference_times (threads, best_us, key) VALUES (?,?,?)"
            " ON CONFLICT DO UPDATE SET best_us = min(best_us, excluded.best_us)",
            (*astuple(reference), key),
        )

    def _add_conditions(self, conditions: Conditions) -> int:
        cursor = self._db.execute(
            "INSERT INTO conditions (key, json) VALUES (?, ?) RETURNING id",
            (conditions.key, json.dumps(asdict(conditions))),
        )
        return int(cursor.fetchone()[0])

    def _rows(self, query: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        with told(self.path):
            return self._db.execute(query, values).fetchall()

    def _record(self, row: Sequence[Any]) -> Record:
        signature, target, threads, text, *numbers = row
        try:
            workloads = tuple(map(Workload.from_row, json.loads(text)))
            return Record(signature, target, threads, workloads, *numbers)
        except (TypeError, ValueError) as error:
            raise TdseError(
                "the record store holds what cannot have been measured",
                where=str(self.path),
                why=f"{signature[:8]} on {target}: {error}",
                hint=MOVE_AWAY,
            ) from None

    def _conditions(self, text: str) -> Conditions:
        try:
            return _CONDITIONS.validate_json(text, strict=True)
        except ValidationError as error:
            raise TdseError(
                "the record store holds conditions that cannot have been met",
                where=str(self.path),
                why="; ".join(faults_of(error)),
                hint=MOVE_AWAY,
            ) from None
