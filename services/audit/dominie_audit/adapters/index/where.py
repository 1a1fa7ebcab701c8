"""A selection as the condition of an SQL query. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from dominie_audit.adapters.index.terms import Term, words
from dominie_contracts import Invalid
from dominie_contracts.audit import Selection

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OWN = "tenant = ?"


@dataclass(frozen=True, slots=True)
class Condition:
    """SQL with its values."""

    sql: str
    values: tuple[object, ...] = ()


def where(asked: Selection, tenant: str, term: Term) -> Condition:
    """What a row of `events` has to be, among those of one tenant: so an index has them in the order of the log.

    Raises:
        Invalid: The text has no words.
    """
    facts = [fact for fact in (_decided(asked, tenant), _cost(asked), _text(asked, tenant, term)) if fact]
    plain = [Condition(_OWN, (tenant,)), *_plain(asked), *_type(asked), *_times(asked)]
    if asked.type is None and len(facts) < 2:
        return _joined(" AND ", [*plain, *facts])
    of_action = [_of_action(fact, tenant) for fact in facts]
    itself = [] if asked.type is not None else [_joined(" OR ", facts)]
    return _joined(" AND ", [*plain, *of_action, *itself])


def microseconds(time: datetime) -> int:
    """A time as the read model compares it."""
    return (time - _EPOCH) // timedelta(microseconds=1)


def _plain(asked: Selection) -> list[Condition]:
    given = {name: getattr(asked, name) for name in ("agent", "user", "run", "tool")}
    found = [Condition(f"{name} = ?", (value,)) for name, value in given.items() if value is not None]
    return found if asked.action is None else [*found, _begins("action", asked.action)]


def _begins(name: str, text: str) -> Condition:
    """Hex digits that begin so; `g` is the character after them."""
    return Condition(f"({name} >= ? AND {name} < ?)", (text, f"{text}g"))


def _type(asked: Selection) -> list[Condition]:
    """The type itself, or those that go on with a dot; `/` is the character after it."""
    if asked.type is None:
        return []
    return [Condition("(type = ? OR (type > ? AND type < ?))", (asked.type, f"{asked.type}.", f"{asked.type}/"))]


def _times(asked: Selection) -> list[Condition]:
    bounds = (("at >= ?", asked.since), ("at < ?", asked.until))
    return [Condition(sql, (microseconds(time),)) for sql, time in bounds if time is not None]


def _decided(asked: Selection, tenant: str) -> Condition | None:
    """By which policy and how is one decision."""
    found = [] if asked.decision is None else [Condition("decision = ?", (asked.decision,))]
    if asked.policy is not None:
        sql = f"position IN (SELECT position FROM policies WHERE {_OWN} AND policy = ?)"
        found.append(Condition(sql, (tenant, asked.policy)))
    return _joined(" AND ", found) if found else None


def _cost(asked: Selection) -> Condition | None:
    bounds = (("cost_usd > ?", asked.cost_over), ("cost_usd < ?", asked.cost_under))
    found = [Condition(sql, (usd,)) for sql, usd in bounds if usd is not None]
    return _joined(" AND ", found) if found else None


def _text(asked: Selection, tenant: str, term: Term) -> Condition | None:
    if asked.text is None:
        return None
    wanted = sorted(words(asked.text))
    if not wanted:
        raise Invalid(f"there is no word in {asked.text!r}: a search for text looks for whole words")
    match = " AND ".join(f'"{term(tenant, word)}"' for word in wanted)
    return Condition("position IN (SELECT rowid FROM words WHERE words MATCH ?)", (match,))


def _of_action(fact: Condition, tenant: str) -> Condition:
    """The fact is on one of the action's events, which may be another one."""
    sql = f"action IN (SELECT action FROM events WHERE {_OWN} AND {fact.sql})"
    return Condition(sql, (tenant, *fact.values))


def _joined(word: str, conditions: Sequence[Condition]) -> Condition:
    sql = word.join(condition.sql for condition in conditions)
    values = tuple(chain.from_iterable(condition.values for condition in conditions))
    return Condition(f"({sql})", values)
