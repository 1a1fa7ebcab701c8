"""One tenant's memories and turns in a SQLite file of its own, with FTS5 over the memories."""

import hashlib
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from dominie_contracts import Recorded
from dominie_contracts.memory import Remembered, TurnAdded
from dominie_contracts.registry import parse_event
from dominie_eventstore import SqlProjection
from dominie_memory.adapters.words import any_of
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


@dataclass(frozen=True, slots=True)
class Text:
    """A text as it was kept; `role` is a turn's."""

    id: str
    text: str
    time: str
    role: str = ""


class TenantFile(SqlProjection):
    """A projection of one tenant's events of the category `memory`.

    A scope is one indexed word, so that a search reads nobody else's texts; it weighs nothing in the score.
    """

    SCHEMA_VERSION = 1
    SCHEMA = """
    CREATE TABLE memories (
      row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, text TEXT NOT NULL, time TEXT NOT NULL
    );
    CREATE VIRTUAL TABLE words USING fts5 (
      scope, text, content='memories', content_rowid='row', tokenize='porter unicode61 remove_diacritics 2'
    );
    CREATE TABLE turns (
      row INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, scope TEXT NOT NULL, text TEXT NOT NULL, time TEXT NOT NULL,
      role TEXT NOT NULL
    );
    CREATE INDEX turns_of ON turns (scope, row);
    """

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        """Keep what the event keeps; the row is its position."""
        row, time = event.position, event.envelope.time.isoformat()
        match parse_event(event.envelope.type, event.envelope.data):
            case Remembered(id=id, namespace=namespace, subject=user, text=text):
                scope = _word(memory_scope(namespace, user))
                db.execute("INSERT INTO memories VALUES (?, ?, ?, ?, ?)", (row, id, scope, text, time))
                db.execute("INSERT INTO words (rowid, scope, text) VALUES (?, ?, ?)", (row, scope, text))
            case TurnAdded(id=id, session=session, subject=user, text=text, role=role):
                scope = _word(turn_scope(session, user))
                db.execute("INSERT INTO turns VALUES (?, ?, ?, ?, ?, ?)", (row, id, scope, text, time, role))
            case _:
                pass

    def search(self, scope: Scope, question: str, limit: int) -> list[Hit]:
        """The memories of a scope that hold words of the question, best first; of equals, the newest first."""
        words = any_of(question)
        if words is None:
            return []
        found = self.db.execute(_SEARCH, (f'scope : "{_word(scope)}" AND text : ({words})', limit))
        return [Hit(id, score) for id, score in found]

    def memories(self, scope: Scope, ids: Sequence[str]) -> dict[str, Text]:
        """Memories of a scope by their ids."""
        rows = self.db.execute(
            f"SELECT id, text, time FROM memories WHERE scope = ? AND id IN ({_marks(ids)})", (_word(scope), *ids)
        )
        return {id: Text(id, text, time) for id, text, time in rows}

    def last_turns(self, scope: Scope, limit: int) -> list[str]:
        """The ids of a scope's last turns, oldest first."""
        rows = self.db.execute("SELECT id FROM turns WHERE scope = ? ORDER BY row DESC LIMIT ?", (_word(scope), limit))
        return [id for (id,) in rows][::-1]

    def turns(self, scope: Scope, ids: Sequence[str]) -> list[Text]:
        """Turns of a scope by their ids, oldest first."""
        rows = self.db.execute(
            f"SELECT id, text, time, role FROM turns WHERE scope = ? AND id IN ({_marks(ids)}) ORDER BY row",
            (_word(scope), *ids),
        )
        return [Text(*row) for row in rows]


def _marks(ids: Sequence[str]) -> str:
    return ", ".join("?" * len(ids))


def _word(scope: Scope) -> str:
    """A scope as one word of digits, which no tokenizer or stemmer changes."""
    return str(int(hashlib.sha256("\0".join(scope).encode()).hexdigest()[:30], 16))
