"""Read models in SQLite: the position is stored in the same transaction as what it stands for."""

import os
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from dominie_contracts.envelope import Recorded

_BATCH = 500
"""Events in one transaction."""
_BROKEN = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NEXT = ".next"
"""Ends the name of the file that is built beside the one that serves."""


class SqlProjection(ABC):
    """A projection in one SQLite file, which is thrown away and rebuilt when it is broken.

    A subclass sets `SCHEMA` and `SCHEMA_VERSION`, writes in `project`, and reads through `db`. A file of another schema
    version stays as it is until the new one is built beside it, from the log, and takes its name.
    """

    SCHEMA: ClassVar[str]
    """The statements that create the tables; all but `checkpoint`, which is this class's."""
    SCHEMA_VERSION: ClassVar[int]
    """Raise it with every change of `SCHEMA` or `project`; from 1."""
    READS_VERSIONS: ClassVar[frozenset[int]] = frozenset()
    """Older schema versions that every query of this class can read: they serve while the new file is built."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the file, or one in memory."""
        self._path = path
        self._held = False
        self._pending = 0
        self.outdated = self.serves = False
        self.db = self._open()
        self._position = self._applied = self._stored_position()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def position(self) -> int:
        """Of the last event that was stored: an event that is held is not told."""
        return self._position

    @property
    def unfinished(self) -> bool:
        """A rebuild was under way when the last process ended."""
        return self._path is not None and _beside(self._path).exists()

    @abstractmethod
    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        """Write what one event changes; the transaction is the caller's."""

    def apply(self, event: Recorded) -> None:
        """Take in one event; alone in its transaction, unless many were announced."""
        try:
            if not self.db.in_transaction:
                self.db.execute("BEGIN IMMEDIATE")
            self.project(self.db, event)
            self.db.execute("UPDATE checkpoint SET position = ?", (event.position,))
            self._applied = event.position
            self._pending += 1
            if not self._held or self._pending >= _BATCH:
                self._commit()
        except BaseException as error:
            self._undo(error)
            raise

    def hold(self) -> None:
        """Store the next events in batches."""
        self._held = True

    def release(self) -> None:
        """Store what was held, and from now on each event by itself."""
        self._held = False
        self._commit()

    def reset(self) -> None:
        """Forget everything."""
        self.db.close()
        self._delete()
        self.db = self._open()
        self._pending = 0
        self._position = self._applied = 0
        self.outdated = self.serves = False

    def another(self, path: Path | None) -> Self:
        """One like it in another file; a subclass that takes more says how it is made."""
        return type(self)(path)

    def fresh(self) -> Self:
        """One in a file beside this one's, which an interrupted rebuild may have begun."""
        built = self.another(self._path and _beside(self._path))
        if built.outdated:
            built.reset()
        return built

    def become(self, built: Self) -> None:
        """Put the built one's file in the place of this one's: whole, or, if the process dies, not at all."""
        built.release()
        self.close()
        if self._path is None or built._path is None:
            self.db = built.db
        else:
            built.close()
            if built._path.exists():  # else another process that shares the folder was faster
                self._delete_journals()
                os.replace(built._path, self._path)
            self.db = self._open()
        self.outdated = self.serves = False
        self._position = self._applied = self._stored_position()

    def close(self) -> None:
        """Store what was held, and close the file."""
        if self.db.in_transaction:
            self._commit()
        self.db.close()

    def _commit(self) -> None:
        if self.db.in_transaction:
            self.db.execute("COMMIT")
        self._pending = 0
        self._position = self._applied

    def _undo(self, error: BaseException) -> None:
        if isinstance(error, sqlite3.DatabaseError) and _is_broken(error):
            self.reset()
            return
        if self.db.in_transaction:
            self.db.execute("ROLLBACK")
        self._pending = 0
        self._position = self._applied = self._stored_position()

    def _open(self) -> sqlite3.Connection:
        try:
            return self._try_open()
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            self._delete()
            return self._try_open()

    def _try_open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path or ":memory:", isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version == self.SCHEMA_VERSION:
                return db
            if version == 0:
                self._create(db)
                return db
            self.outdated, self.serves = True, version in self.READS_VERSIONS
            if self.serves:
                db.execute("PRAGMA query_only = ON")
                return db
        except BaseException:
            db.close()
            raise
        db.close()
        return self._nothing()

    def _nothing(self) -> sqlite3.Connection:
        """What stands for a file that cannot be read, until the new one is built."""
        db = sqlite3.connect(":memory:", isolation_level=None)
        self._create(db)
        return db

    def _create(self, db: sqlite3.Connection) -> None:
        db.executescript(
            f"BEGIN; CREATE TABLE checkpoint (position INTEGER NOT NULL); INSERT INTO checkpoint VALUES (0);\n"
            f"{self.SCHEMA}\n;PRAGMA user_version = {self.SCHEMA_VERSION}; COMMIT;"
        )

    def _stored_position(self) -> int:
        (position,) = self.db.execute("SELECT position FROM checkpoint").fetchone()
        return int(position)

    def _delete(self) -> None:
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._delete_journals()

    def _delete_journals(self) -> None:
        """A journal that is found beside another file than its own would be read into it."""
        for suffix in ("-wal", "-shm"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)


def _beside(path: Path) -> Path:
    return path.with_name(path.name + _NEXT)


def _is_broken(error: sqlite3.DatabaseError) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in _BROKEN
