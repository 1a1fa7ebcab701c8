"""Every event, with the columns that people search by; in SQLite, and always rebuildable from the log.

And the transparency log's tree, which sees the same events.
"""

import sqlite3
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import JsonValue

from dominie_audit.adapters.index.terms import Term, said
from dominie_audit.adapters.index.where import microseconds, where
from dominie_audit.adapters.tlog.keeper import Keeper
from dominie_audit.aggregate import Row, RunRow, tenants_seen
from dominie_contracts import Recorded
from dominie_contracts.artifact import names
from dominie_contracts.audit import MAX_POSITION, Search, Selection
from dominie_contracts.identity import PRINCIPAL, Erased
from dominie_contracts.line import Line, Step, line
from dominie_contracts.personal import is_hidden, key_ids
from dominie_eventstore import SqlProjection

_ERASED = f"{PRINCIPAL}.{Erased.KIND}"
_ROW = "position, stream, version, type, time, agent, user, run, raw"
_KNOWN = "SELECT max(run), max(tool) FROM events WHERE tenant = ? AND action = ?"
_CACHE = 2048


class Log(SqlProjection):
    """A projection of all events. Everything that is read from it is filtered by tenant.

    An action's events share its stream's id, its permit and its approval too; so each takes the run and the tool
    from the first one that names them. Its words are held as terms alone: `term` says how a tenant's word is written.
    """

    SCHEMA_VERSION: ClassVar[int] = 7
    SCHEMA: ClassVar[str] = """
        CREATE TABLE events (
            position INTEGER PRIMARY KEY, tenant TEXT NOT NULL, stream TEXT NOT NULL, version INTEGER NOT NULL,
            action TEXT NOT NULL, type TEXT NOT NULL, time TEXT NOT NULL, agent TEXT NOT NULL, user TEXT, run TEXT,
            tool TEXT, decision TEXT, outcome TEXT, at INTEGER NOT NULL, cost_usd REAL, raw BLOB NOT NULL
        );
        CREATE INDEX by_run ON events (tenant, run, position);
        CREATE INDEX by_action ON events (tenant, action, position);
        CREATE INDEX by_agent ON events (tenant, agent, position);
        CREATE INDEX by_user ON events (tenant, user, position);
        CREATE INDEX by_tool ON events (tenant, tool, position) WHERE tool IS NOT NULL;
        CREATE INDEX by_decision ON events (tenant, decision, position) WHERE decision IS NOT NULL;
        CREATE INDEX by_tenant ON events (tenant, position);
        CREATE TABLE policies (
            tenant TEXT NOT NULL, policy TEXT NOT NULL, position INTEGER NOT NULL,
            PRIMARY KEY (tenant, policy, position)
        ) WITHOUT ROWID;
        CREATE TABLE artifacts (tenant TEXT NOT NULL, name TEXT NOT NULL, PRIMARY KEY (tenant, name)) WITHOUT ROWID;
        CREATE TABLE erased (key TEXT PRIMARY KEY) WITHOUT ROWID;
        CREATE VIRTUAL TABLE words USING fts5 (
            terms, content = '', detail = none, columnsize = 0, tokenize = ascii
        );
        CREATE TABLE runs (
            tenant TEXT NOT NULL, run TEXT NOT NULL, agent TEXT NOT NULL, user TEXT, started TEXT NOT NULL,
            last TEXT NOT NULL, last_position INTEGER NOT NULL, events INTEGER NOT NULL, cost_usd REAL NOT NULL,
            PRIMARY KEY (tenant, run)
        );
        CREATE INDEX by_last ON runs (tenant, last_position);
    """

    def __init__(self, path: Path | None = None, *, term: Term) -> None:
        super().__init__(path)
        self._term = term
        self._actions: dict[tuple[str, str], tuple[str | None, str | None]] = {}
        """Run and tool of the latest actions."""

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._actions.clear()

    def another(self, path: Path | None) -> Self:
        """One whose words are written as this one's."""
        return type(self)(path, term=self._term)

    def become(self, built: Self) -> None:
        """Put the built one's file in the place of this one's."""
        super().become(built)
        self._actions.clear()

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        """Write one event; one that was written before changes nothing."""
        found = line(event, words=False)
        run, tool = self._inherit(db, found)
        written = db.execute(
            "INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(found.position, found.tenant, found.stream, found.version, found.action, found.type),
                *(found.time.isoformat(), found.agent, found.user, run, tool),
                *(found.decision, found.outcome, microseconds(found.time), found.cost_usd, event.raw),
            ),
        )
        if not written.rowcount:
            return
        self._index(db, found, event.envelope.data)
        self._refer(db, found, event)
        if run is not None:
            self._count(db, found, run)

    def _index(self, db: sqlite3.Connection, found: Line, data: dict[str, JsonValue]) -> None:
        if terms := [self._term(found.tenant, word) for word in said(found.type, data)]:
            db.execute("INSERT INTO words (rowid, terms) VALUES (?, ?)", (found.position, " ".join(terms)))
        policies = data.get("policies") if found.decision is not None else None
        if isinstance(policies, list):
            rows = [(found.tenant, policy, found.position) for policy in policies if isinstance(policy, str)]
            db.executemany("INSERT OR IGNORE INTO policies VALUES (?, ?, ?)", rows)

    def _refer(self, db: sqlite3.Connection, found: Line, event: Recorded) -> None:
        """Which artifacts it refers to; the keys it names stand for those of a part that cannot be read."""
        data = event.envelope.data
        for part in (data.get("arguments"), data.get("result")):
            for name in key_ids(event.raw) if is_hidden(part) else names(part):
                db.execute("INSERT OR IGNORE INTO artifacts VALUES (?, ?)", (found.tenant, name))
        if found.type == _ERASED:
            for key in Erased.model_validate(data).keys:
                db.execute("INSERT OR IGNORE INTO erased VALUES (?)", (key,))

    def _inherit(self, db: sqlite3.Connection, found: Line) -> tuple[str | None, str | None]:
        name = (found.tenant, found.action)
        run, tool = self._actions.get(name) or db.execute(_KNOWN, name).fetchone()
        self._actions[name] = known = (found.run or run, found.resource or tool)
        if len(self._actions) > _CACHE:
            del self._actions[next(iter(self._actions))]
        return known

    def _count(self, db: sqlite3.Connection, found: Line, run: str) -> None:
        time = found.time.isoformat()
        db.execute(
            "INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, 1, ?) ON CONFLICT DO UPDATE SET last = excluded.last,"
            " last_position = excluded.last_position, events = events + 1, cost_usd = cost_usd + excluded.cost_usd,"
            " user = coalesce(user, excluded.user)",
            (found.tenant, run, found.agent, found.user, time, time, found.position, found.cost_usd or 0.0),
        )

    def trail(self, tenant: str, run: str, *, after: int, limit: int) -> list[Row]:
        """The events of a run beyond a position, in order."""
        query = f"SELECT {_ROW} FROM events WHERE tenant = ? AND run = ? AND position > ? ORDER BY position LIMIT ?"
        return [_row(found) for found in self.db.execute(query, (tenant, run, after, limit))]

    def search(self, tenant: str, asked: Search, *, limit: int) -> list[Row]:
        """The latest events that fit, the latest first; or the earliest ones, the earliest first."""
        before = MAX_POSITION if asked.before is None else asked.before
        return self._rows(tenant, asked, after=asked.after, until=before - 1, latest=not asked.earliest, limit=limit)

    def select(self, tenant: str, asked: Selection, *, after: int, until: int, limit: int) -> list[Row]:
        """The events that fit, beyond a position and up to another, in order."""
        return self._rows(tenant, asked, after=after, until=until, latest=False, limit=limit)

    def _rows(self, tenant: str, asked: Selection, *, after: int, until: int, latest: bool, limit: int) -> list[Row]:
        rows = list[Row]()
        for each in dict.fromkeys(tenants_seen(tenant)):
            fits = where(asked, each, self._term)
            place = f"position > ? AND position <= ? ORDER BY position {'DESC' if latest else 'ASC'} LIMIT ?"
            query = f"SELECT {_ROW} FROM events WHERE {fits.sql} AND {place}"
            rows += [_row(row) for row in self.db.execute(query, (*fits.values, after, until, limit))]
        return sorted(rows, key=lambda row: row.position, reverse=latest)[:limit]

    def of_user(self, tenant: str, user: str, *, after: int, limit: int) -> list[Row]:
        """The events on behalf of a person, beyond a position, in order."""
        query = f"SELECT {_ROW} FROM events WHERE tenant = ? AND user = ? AND position > ? ORDER BY position LIMIT ?"
        return [_row(found) for found in self.db.execute(query, (tenant, user, after, limit))]

    def refers(self, tenant: str, name: str) -> bool:
        """Whether an event of a tenant refers to an artifact."""
        query = "SELECT 1 FROM artifacts WHERE tenant = ? AND name = ?"
        return self.db.execute(query, (tenant, name)).fetchone() is not None

    def is_erased(self, key: str) -> bool:
        """Whether the log says that a person's key was destroyed."""
        return self.db.execute("SELECT 1 FROM erased WHERE key = ?", (key,)).fetchone() is not None

    def runs(self, tenant: str, limit: int) -> list[RunRow]:
        """The latest runs, the latest first."""
        query = (
            "SELECT run, agent, user, started, last, events, cost_usd FROM runs WHERE tenant = ?"
            " ORDER BY last_position DESC LIMIT ?"
        )
        return [RunRow(*found) for found in self.db.execute(query, (tenant, limit))]

    def steps(self, tenant: str, run: str) -> list[Step]:
        """What a run's events say of how it stands, in order."""
        query = "SELECT type, action, outcome FROM events WHERE tenant = ? AND run = ? ORDER BY position"
        return [Step(*found) for found in self.db.execute(query, (tenant, run))]


def _row(found: tuple[Any, ...]) -> Row:
    event = Recorded(found[0], found[-1])
    return Row(*(*found[:-1], event))


class LogAndTree:
    """Both read models as one, so that each event is read once for both. The tree catches up by itself.

    Rebuilding it rebuilds what people search in: the tree has no use for an event that it has.
    """

    def __init__(self, log: Log, tree: Keeper | None) -> None:
        self._log = log
        self._tree = tree
        self._told = 0

    @property
    def position(self) -> int:
        """Of the last event that is stored."""
        return self._log.position

    @property
    def followed(self) -> int:
        """The position up to which the tree was told of every event, or was not there to be told."""
        return max(self._told, self._log.position)

    @property
    def outdated(self) -> bool:
        """Whether what people search in has to be built anew."""
        return self._log.outdated

    @property
    def serves(self) -> bool:
        """Whether it can be searched though it is outdated."""
        return self._log.serves

    @property
    def unfinished(self) -> bool:
        """Whether a rebuild was interrupted."""
        return self._log.unfinished

    def apply(self, event: Recorded) -> None:
        """Take in one event."""
        self._log.apply(event)
        self._told = event.position
        if self._tree is not None:
            self._tree.apply(event)

    def reset(self) -> None:
        """Forget what people search in."""
        self._log.reset()

    def fresh(self) -> Self:
        """One without a tree."""
        return type(self)(self._log.fresh(), None)

    def become(self, built: Self) -> None:
        """Take over what people search in."""
        self._log.become(built._log)

    def hold(self) -> None:
        """Store the next events in batches."""
        self._log.hold()

    def release(self) -> None:
        """Store what was held, and from now on each event by itself."""
        self._log.release()

    def close(self) -> None:
        """Store what was held."""
        self._log.close()
