"""The file of the record store: its schema, how an older one is brought to it, what may fail."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from tdse.errors import TdseError

# What each version of the schema changes of the one before; the version is SQLite's user_version.
# Version 1 was not numbered, so its statements must do on what is there already.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE IF NOT EXISTS conditions (
            id INTEGER PRIMARY KEY, key TEXT NOT NULL, json TEXT NOT NULL)""",
        """CREATE TABLE IF NOT EXISTS records (
            signature TEXT NOT NULL, target TEXT NOT NULL, threads INTEGER NOT NULL,
            key TEXT NOT NULL, kind TEXT NOT NULL, features TEXT NOT NULL, median_us REAL NOT NULL,
            spread_us REAL NOT NULL, runs INTEGER NOT NULL,
            conditions INTEGER NOT NULL REFERENCES conditions(id), measured_at REAL NOT NULL,
            PRIMARY KEY (signature, target, threads, key))""",
        """CREATE TABLE IF NOT EXISTS support (
            signature TEXT NOT NULL, target TEXT NOT NULL, versions TEXT NOT NULL,
            ok INTEGER NOT NULL, reason TEXT NOT NULL,
            PRIMARY KEY (signature, target, versions))""",
    ),
    # Workloads in place of features: what is learnt from a record may change, what was measured
    # does not. Earlier records keep their times, and nothing is learnt from them.
    (
        "ALTER TABLE records DROP COLUMN kind",
        "ALTER TABLE records DROP COLUMN features",
        "ALTER TABLE records ADD COLUMN workloads TEXT NOT NULL DEFAULT '[]'",
        "ALTER TABLE records ADD COLUMN contention REAL NOT NULL DEFAULT 1.0",
        "ALTER TABLE records ADD COLUMN repeat_us REAL",
        """CREATE TABLE reference_times (
            key TEXT NOT NULL, threads INTEGER NOT NULL, best_us REAL NOT NULL,
            PRIMARY KEY (key, threads))""",
    ),
    # Decisions belong to a machine, as times do, since those of others may be imported: with equal
    # versions, one may compute right what another gets wrong. Earlier ones were all of this one.
    (
        """CREATE TABLE decisions (
            signature TEXT NOT NULL, target TEXT NOT NULL, key TEXT NOT NULL, ok INTEGER NOT NULL,
            reason TEXT NOT NULL, decided_at REAL NOT NULL,
            PRIMARY KEY (signature, target, key))""",
        """INSERT INTO decisions SELECT DISTINCT signature, target, key, ok, reason, 0.0
            FROM support JOIN conditions ON json_extract(json, '$.versions') = json(versions)""",
        "DROP TABLE support",
        "ALTER TABLE decisions RENAME TO support",
    ),
)
# A writer holds the file for milliseconds, an import for seconds.
_PATIENCE_S = 30.0


def open_store(path: Path) -> sqlite3.Connection:
    """The file at ``path``, of the newest version of the schema; made where there is none.

    Raises:
        TdseError: it is of a newer version, or not a record store that can be read and written.
    """
    with told(path):
        database = sqlite3.connect(path, timeout=_PATIENCE_S)
        try:
            _migrate(database, path)
            _write_ahead(database)
        except BaseException:
            database.close()
            raise
        return database


def _migrate(database: sqlite3.Connection, path: Path) -> None:
    """Bring the file to the newest version in one transaction, which also tells if it is writable.

    Another process may be at the same, so the version counts that is found once the file is held.
    """
    with database:
        database.execute("BEGIN IMMEDIATE")
        (version,) = database.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise TdseError(
                "the record store was written by a newer tdse",
                where=str(path),
                why=f"its schema has version {version}, this tdse knows {len(MIGRATIONS)}",
                hint="update tdse, or point XDG_CACHE_HOME elsewhere",
            )
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                database.execute(statement)
        if version < len(MIGRATIONS):
            database.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


def _write_ahead(database: sqlite3.Connection) -> None:
    """Let others read while one writes.

    A file that others have open cannot be switched, and SQLite does not always wait for them.
    """
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            database.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if _code(error, _BUSY) != _BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into an error that says what to do.

    Raises:
        TdseError: in place of what was raised.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, OSError):
            code, why = _CANTOPEN, error.strerror or str(error)
        else:
            code, why = _code(error, _IOERR), str(error)
        what, hint = _FAILURES.get(code, _FAILURES[_IOERR])
        raise TdseError(what, where=str(path), why=why, hint=hint) from None


def _code(error: sqlite3.Error, unknown: int) -> int:
    """SQLite's code of an error; ``unknown`` in Python 3.10, which does not tell."""
    # The extended codes have the primary one in their lowest byte.
    return int(getattr(error, "sqlite_errorcode", unknown)) & 0xFF


# From sqlite3.h; Python 3.10 does not name them.
_ERROR, _PERM, _BUSY, _READONLY, _IOERR, _CORRUPT, _CANTOPEN, _NOTADB = 1, 3, 5, 8, 10, 11, 14, 26

MOVE_AWAY = (
    "move it away, and with it the files -wal and -shm beside it; then everything is measured "
    "again, or imported from an export"
)
_DAMAGED = ("the record store is damaged", MOVE_AWAY)
_NOT_WRITABLE = (
    "the record store cannot be used",
    "make the file and its directory writable, or point XDG_CACHE_HOME to one that is",
)
_FAILURES = {
    _CORRUPT: _DAMAGED,
    _NOTADB: _DAMAGED,
    # Tables that are not as the version says, or text in them that is no JSON.
    _ERROR: _DAMAGED,
    _READONLY: _NOT_WRITABLE,
    _CANTOPEN: _NOT_WRITABLE,
    _PERM: _NOT_WRITABLE,
    _BUSY: (
        "the record store is held by another process",
        "try again when that has ended, or point XDG_CACHE_HOME elsewhere",
    ),
    _IOERR: (
        "the record store cannot be used",
        "free some space, or point XDG_CACHE_HOME elsewhere",
    ),
}
