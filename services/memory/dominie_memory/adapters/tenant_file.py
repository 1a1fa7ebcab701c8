"""One tenant's memories and turns in a SQLite file of its own, with FTS5 over the memories; nothing in it is readable.

Texts are kept as the log has them: sealed. Words and scopes are kept as terms, under the key of the tenant's index.
"""

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dominie_contracts import Recorded
from dominie_contracts.memory import Remembered, TurnAdded
from dominie_contracts.personal import is_hidden
from dominie_contracts.registry import parse_event
from dominie_eventstore import SqlProjection
from dominie_memory.adapters.words import Stems, Term, any_of
from dominie_memory.aggregate import Scope, memory_scope, turn_scope

_SEARCH = """
SELECT memories.id, -bm25(words, 0.0, 1.0) AS score FROM words JOIN memories ON memories.row = words.rowid
WHERE words MATCH ? ORDER BY score DESC, memories.row DESC LIMIT ?
"""


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that fits a question, and how well (BM25; larger is better)."""

    id: str
    score: float


class TenantFile(SqlProjection):
    """A projection of one tenant's events of the category `memory`.

    A scope is one indexed term, so that a search reads nobody else's texts; it weighs nothing in the score.
    """

    SCHEMA_VERSION = 2
    SCHEMA = """
    CREATE TABLE memories (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, raw BLOB NOT NULL);
    CREATE VIRTUAL TABLE words USING fts5 (scope, text, content='', tokenize='ascii');
    CREATE TABLE turns (row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, raw BLOB NOT NULL);
    CREATE INDEX turns_of ON turns (scope, row);
    """

    def __init__(self, path: Path | None, tenant: str, term: Term, stems: Stems) -> None:
        super().__init__(path)
        self._tenant = tenant
        self._term = term
        self._stems = stems

    def another(self, path: Path | None) -> Self:
        """One for the same tenant."""
        return type(self)(path, self._tenant, self._term, self._stems)

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        """Keep what the event keeps, unless it was erased; the row is its position."""
        row = event.position
        match parse_event(event.type, event.envelope.data):
            case Remembered(text=text) | TurnAdded(text=text) if is_hidden(text):
                pass
            case Remembered(id=id, namespace=namespace, subject=user, text=text):
                scope = self._word(memory_scope(namespace, user))
                db.execute("INSERT INTO memories VALUES (?, ?, ?, ?)", (row, id, scope, event.raw))
                terms = " ".join(self._terms(text))
                db.execute("INSERT INTO words (rowid, scope, text) VALUES (?, ?, ?)", (row, scope, terms))
            case TurnAdded(id=id, session=session, subject=user):
                scope = self._word(turn_scope(session, user))
                db.execute("INSERT INTO turns VALUES (?, ?, ?, ?)", (row, id, scope, event.raw))
            case _:
                pass

    def search(self, scope: Scope, question: str, limit: int) -> list[Hit]:
        """The memories of a scope that hold words of the question, best first; of equals, the newest first."""
        terms = any_of(self._terms(question))
        if terms is None:
            return []
        found = self.db.execute(_SEARCH, (f'scope : "{self._word(scope)}" AND text : ({terms})', limit))
        return [Hit(id, score) for id, score in found]

    def memories(self, scope: Scope, ids: Sequence[str]) -> dict[str, Recorded]:
        """Memories of a scope by their ids, sealed."""
        rows = self.db.execute(
            f"SELECT id, row, raw FROM memories WHERE scope = ? AND id IN ({_marks(ids)})", (self._word(scope), *ids)
        )
        return {id: Recorded(row, raw) for id, row, raw in rows}

    def last_turns(self, scope: Scope, limit: int) -> list[str]:
        """The ids of a scope's last turns, oldest first."""
        rows = self.db.execute(
            "SELECT id FROM turns WHERE scope = ? ORDER BY row DESC LIMIT ?", (self._word(scope), limit)
        )
        return [id for (id,) in rows][::-1]

    def turns(self, scope: Scope, ids: Sequence[str]) -> list[Recorded]:
        """Turns of a scope by their ids, oldest first, sealed."""
        rows = self.db.execute(
            f"SELECT row, raw FROM turns WHERE scope = ? AND id IN ({_marks(ids)}) ORDER BY row",
            (self._word(scope), *ids),
        )
        return [Recorded(row, raw) for row, raw in rows]

    def _terms(self, text: str) -> list[str]:
        return [self._term(self._tenant, stem) for stem in self._stems.of(text)]

    def _word(self, scope: Scope) -> str:
        """A scope as one term; no word of a text is like it."""
        return self._term(self._tenant, "\0".join(("scope", *scope)))


def _marks(ids: Sequence[str]) -> str:
    return ", ".join("?" * len(ids))
