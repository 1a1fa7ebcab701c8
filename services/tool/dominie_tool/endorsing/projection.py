"""The endorsements that stand, by where they count."""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from math import inf
from typing import Self

from dominie_contracts import Recorded
from dominie_contracts.digests import digest_json
from dominie_contracts.endorsing import ENDORSEMENT, Endorsed, EndorsementRevoked
from dominie_contracts.personal import is_erased
from dominie_contracts.provenance import Label
from dominie_contracts.registry import parse_event
from dominie_contracts.seen import NONE
from dominie_contracts.typed import Form
from dominie_eventstore import InMemory
from dominie_kit import Context
from dominie_tool.endorsing.aggregate import forms_of

MAX_EACH = 200
"""The latest endorsements in one place that count: who calls waits for all of them to be looked at."""
CaughtUp = Callable[[int, float], Awaitable[None]]
"""Waits until they hold all up to a position, for so many seconds."""
_Where = tuple[str, ...]


class Endorsements(InMemory):
    """A projection of the category `endorsement`."""

    def __init__(self) -> None:
        self.position = 0
        self._standing: dict[_Where, dict[str, tuple[Endorsed, int]]] = {}
        """With their positions."""
        self._where: dict[tuple[str, str], tuple[_Where, ...]] = {}
        self._revoked: dict[str, set[str]] = {}
        """Of notes."""

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        tenant = event.envelope.tenant
        if isinstance(payload, Endorsed):
            where = _counts(tenant, payload), (tenant, "source", payload.source)
            self._where[tenant, payload.id] = where
            for each in where:
                self._standing.setdefault(each, {})[payload.id] = payload, event.position
        elif isinstance(payload, EndorsementRevoked):
            for each in self._where.pop((tenant, payload.id), ()):
                if each == (tenant, "notes"):
                    self._revoked.setdefault(tenant, set()).add(f"{ENDORSEMENT}:{payload.id}")
                del self._standing[each][payload.id]

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)()

    def of(self, context: Context) -> tuple[Endorsed, ...]:
        """Those that count in a command's run, and are about the values that they were about when they were made.

        A forked run has those that its parent had by then, and those of its own results.
        """
        claims = context.claims
        if not self._standing or claims is None:
            return ()
        found = self._in((claims.tenant, "run", claims.run))
        if claims.fork is not None:
            found += self._in((claims.tenant, "run", claims.fork.run), before=claims.fork.at)
        if claims.session is not None:
            found += self._by_then((claims.tenant, "session", claims.sub, claims.session), context)
        return tuple(each for each in found if _holds(each, context))

    def at(self, tenant: str, source: str) -> tuple[Endorsed, ...]:
        """Those of values in one result."""
        return tuple(each for each in self._in((tenant, "source", source)) if not is_erased(each.value))

    def notes(self, context: Context) -> tuple[Endorsed, ...]:
        """Those of values in notes, which count wherever these are recalled."""
        found = self._by_then((context.tenant, "notes"), context) if self._standing else []
        return tuple(each for each in found if not is_erased(each.value))

    def revoked(self, tenant: str) -> Set[str]:
        """Those of notes that were revoked, as sources: what was recalled before that rests on them."""
        return self._revoked.get(tenant, frozenset())

    def _by_then(self, where: _Where, context: Context) -> list[Endorsed]:
        """In a forked run, those from before it was forked, and those of its own."""
        if context.fork is None:
            return self._in(where)
        return [
            *self._in(where, before=context.fork.at),
            *(each for each in self._in(where) if each.run == context.run),
        ]

    def _in(self, where: _Where, *, before: float = inf) -> list[Endorsed]:
        found = self._standing.get(where)
        return [each for each, at in found.values() if at < before][-MAX_EACH:] if found else []


def known(endorsed: Iterable[Endorsed]) -> Mapping[Form, Label]:
    """The values that are endorsed, each as the best of several says."""
    found: dict[Form, Label] = {}
    for each in endorsed:
        for form, label in forms_of(each).items():
            if form not in found or label.level > found[form].level:
                found[form] = label
    return found or NONE


def _counts(tenant: str, endorsed: Endorsed) -> _Where:
    if endorsed.scope == "tenant":
        return tenant, "notes"
    if endorsed.scope == "session":
        return tenant, "session", endorsed.user, endorsed.session or ""
    return tenant, "run", endorsed.run


def _holds(endorsed: Endorsed, context: Context) -> bool:
    """Whether it is of this user, and its value the one that was looked at: what was erased is another."""
    if endorsed.user != context.user:
        return False
    return digest_json(endorsed.value, key=context.digests) == endorsed.digest
