"""The keys of people, in one SQLite file beside nothing else: not in the log, and in no backup of it.

What is deleted is overwritten (`secure_delete`), and the rollback journal is cut to nothing after each change. What a
disk keeps of overwritten blocks is the disk's: put the folder on an encrypted one.
"""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from dominie_contracts import Forbidden
from dominie_contracts.keys import AskSubjectKeys, SubjectKey, SubjectKeys
from dominie_kit.personal.sealing import new_key

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, secret TEXT NOT NULL, UNIQUE (tenant, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bars (
  tenant TEXT NOT NULL, subject TEXT NOT NULL, position INTEGER NOT NULL, erased INTEGER NOT NULL,
  asked INTEGER NOT NULL, PRIMARY KEY (tenant, subject)
) WITHOUT ROWID;
"""
_BARRED = "SELECT 1 FROM bars WHERE (tenant, subject) = (?, ?) AND (erased OR asked)"
_BUSY_S = 5.0


class KeyStore:
    """Makes, hands out and destroys keys; several processes may use one file. See `KeySource`."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the file, which nobody else on this machine can read; or one in memory."""
        if path is not None:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=_BUSY_S)
        for pragma in ("journal_mode = TRUNCATE", "synchronous = EXTRA", "secure_delete = ON"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    async def keys(self, asked: AskSubjectKeys) -> SubjectKeys:
        """See `KeySource`."""
        found = [] if asked.subject is None else [self.of(asked.tenant, asked.subject)]
        for id_ in asked.ids:
            found += self._select("tenant = ? AND id = ?", asked.tenant, id_)
        return SubjectKeys(keys=tuple(found))

    def of(self, tenant: str, person: str) -> SubjectKey:
        """The key of a person, made on first use and stored before anybody has it.

        Raises:
            Forbidden: The person was erased.
        """
        found = self._select(f"tenant = ? AND subject = ? AND NOT EXISTS ({_BARRED})", tenant, person, tenant, person)
        return found[0] if found else self._make(tenant, person)

    def _make(self, tenant: str, person: str) -> SubjectKey:
        """A key, if there is none yet; nobody bars the person between the look and the writing."""
        with self._alone():
            if self._db.execute(_BARRED, (tenant, person)).fetchone():
                raise Forbidden(f"{person} was erased; nothing is written for them until they are registered anew")
            key = new_key(person)
            self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?)", (key.id, tenant, person, key.secret))
            return self._select("tenant = ? AND subject = ?", tenant, person)[0]

    def ids(self, tenant: str, person: str) -> tuple[str, ...]:
        """The ids of the keys of a person."""
        return tuple(key.id for key in self._select("tenant = ? AND subject = ?", tenant, person))

    def ask(self, tenant: str, person: str) -> bool:
        """Hand out no key under this name, and make none, until it is known what became of an erasure.

        Returns:
            Whether this is new: nobody asked before, or what became of it is known.
        """
        with self._alone():
            asked = "SELECT 1 FROM bars WHERE (tenant, subject) = (?, ?) AND asked"
            new = self._db.execute(asked, (tenant, person)).fetchone() is None
            upsert = "INSERT INTO bars VALUES (?, ?, 0, 0, 1) ON CONFLICT DO UPDATE SET asked = 1"
            self._db.execute(upsert, (tenant, person))
        return new

    def take_back(self, tenant: str, person: str) -> None:
        """Undo `ask`: nothing was written. What an earlier erasure barred stays barred."""
        self._db.execute("UPDATE bars SET asked = 0 WHERE (tenant, subject) = (?, ?)", (tenant, person))

    def bar(self, tenant: str, person: str, position: int) -> None:
        """What `ask` asked for is written, at this position."""
        self._db.execute("INSERT OR REPLACE INTO bars VALUES (?, ?, ?, 1, 0)", (tenant, person, position))

    def replay(self, tenant: str, person: str, position: int, *, erased: bool) -> None:
        """The person was erased or registered at a position of the log; what is older than what is known says nothing.

        So who reads the log from its beginning neither bars nor unbars anybody on the way. It inserts bars alone: most
        of those who are registered were never erased.
        """
        if erased:
            self._db.execute("INSERT OR IGNORE INTO bars VALUES (?, ?, ?, 1, 0)", (tenant, person, position))
        update = "UPDATE bars SET position = ?, erased = ? WHERE (tenant, subject) = (?, ?) AND position < ?"
        self._db.execute(update, (position, erased, tenant, person, position))

    def destroy(self, tenant: str, ids: Sequence[str]) -> None:
        """Destroy keys; doing it again changes nothing."""
        for id_ in ids:
            self._db.execute("DELETE FROM keys WHERE tenant = ? AND id = ?", (tenant, id_))

    def welcome(self, tenant: str, person: str, position: int) -> None:
        """They are registered, anew if the position is not 0: a key may be made again, after `destroy` another one."""
        self.take_back(tenant, person)
        self.replay(tenant, person, position, erased=False)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process writes meanwhile."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self._db.execute("COMMIT")  # what is written here is one statement, the last

    def _select(self, where: str, *values: str) -> list[SubjectKey]:
        rows = self._db.execute(f"SELECT id, subject, secret FROM keys WHERE {where}", values)
        return [SubjectKey(id=id_, subject=subject, secret=secret) for id_, subject, secret in rows]
