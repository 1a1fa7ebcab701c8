"""The keys of people, in one SQLite file beside nothing else: not in the log, and in no backup of it.

What is deleted is overwritten (`secure_delete`), and the rollback journal is cut to nothing after each change. What a
disk keeps of overwritten blocks is the disk's: put the folder on an encrypted one.
"""

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from dominie_contracts import Forbidden
from dominie_contracts.identity import AskSubjectKeys, SubjectKey, SubjectKeys
from dominie_kit.sealing import new_key

_SCHEMA = """
CREATE TABLE IF NOT EXISTS keys (
  id TEXT PRIMARY KEY, tenant TEXT NOT NULL, subject TEXT NOT NULL, secret TEXT NOT NULL, UNIQUE (tenant, subject)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS erased (tenant TEXT NOT NULL, subject TEXT NOT NULL, PRIMARY KEY (tenant, subject));
"""
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
        if self._db.execute("SELECT 1 FROM erased WHERE (tenant, subject) = (?, ?)", (tenant, person)).fetchone():
            raise Forbidden(f"{person} was erased; nothing is written for them until they are registered anew")
        found = self._select("tenant = ? AND subject = ?", tenant, person)
        if found:
            return found[0]
        key = new_key(person)
        self._db.execute("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, ?)", (key.id, tenant, person, key.secret))
        return self._select("tenant = ? AND subject = ?", tenant, person)[0]

    def ids(self, tenant: str, person: str) -> tuple[str, ...]:
        """The ids of the keys of a person."""
        return tuple(key.id for key in self._select("tenant = ? AND subject = ?", tenant, person))

    def bar(self, tenant: str, person: str) -> None:
        """Hand out no key under this name, and make none."""
        self._db.execute("INSERT OR IGNORE INTO erased VALUES (?, ?)", (tenant, person))

    def destroy(self, tenant: str, ids: Sequence[str]) -> None:
        """Destroy keys; doing it again changes nothing."""
        for id_ in ids:
            self._db.execute("DELETE FROM keys WHERE tenant = ? AND id = ?", (tenant, id_))

    def welcome(self, tenant: str, person: str) -> None:
        """Undo `bar`: there may be a key again, after `destroy` another one."""
        self._db.execute("DELETE FROM erased WHERE (tenant, subject) = (?, ?)", (tenant, person))

    def _select(self, where: str, *values: str) -> list[SubjectKey]:
        rows = self._db.execute(f"SELECT id, subject, secret FROM keys WHERE {where}", values)
        return [SubjectKey(id=id_, subject=subject, secret=secret) for id_, subject, secret in rows]
