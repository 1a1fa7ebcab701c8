"""Which runs share what they were given: the parts of a run, and the runs of a session until its user asks anew.

A part is told by whoever hands on, and tells it back; a session's next run goes on with what was said before. Where
the user asks for something new, so that the token has its digest from them, the session begins anew; what an agent
alone says that they ask for may be what it has read.
"""

from collections import OrderedDict
from typing import Self

from pydantic import BaseModel

from dominie_contracts import Recorded, RunClaims
from dominie_contracts.runs import RunOpened
from dominie_contracts.token import RequestFrom
from dominie_eventstore import InMemory

_RUNS = 50_000
_MOST = 200
"""Runs of one family that are told apart; of a larger one nobody knows all that it was given."""
Family = list[str]


class _Opened(BaseModel):
    """What is needed of the event `RunOpened`, sealed as it is."""

    run: str
    user: str
    session: str | None = None
    parents: tuple[str, ...] = ()
    request_from: RequestFrom | None = None


class _Told(BaseModel):
    tenant: str
    data: _Opened


class Families(InMemory):
    """A projection of the category `run`."""

    def __init__(self, *, runs: int = _RUNS) -> None:
        self.position = 0
        self._most = runs
        self._families: OrderedDict[tuple[str, str], Family] = OrderedDict()
        self._sessions: OrderedDict[tuple[str, str, str], Family] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if not event.type.endswith(f".{RunOpened.KIND}"):
            return
        told = _Told.model_validate_json(event.raw)
        opened, tenant = told.data, told.tenant
        family = self._of(tenant, opened.user, opened.session, opened.parents, asks=opened.request_from == "user")
        if opened.run not in family and len(family) <= _MOST:
            family.append(opened.run)
        self._families[tenant, opened.run] = family
        if opened.session is not None and not opened.parents:
            self._sessions[tenant, opened.user, opened.session] = family
            self._sessions.move_to_end((tenant, opened.user, opened.session))
        for known in (self._families, self._sessions):
            if len(known) > self._most:
                known.popitem(last=False)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)(runs=self._most)

    def of(self, claims: RunClaims) -> tuple[str, ...] | None:
        """The runs that share what they were given with one, itself among them; None: too many to tell."""
        family = self._families.get((claims.tenant, claims.run))
        if family is None:  # its opening is on its way here
            asks = claims.request_from == "user"
            family = self._of(claims.tenant, claims.sub, claims.session, claims.parents, asks=asks)
        return None if len(family) > _MOST else tuple(dict.fromkeys((*family, claims.run)))

    def _of(self, tenant: str, user: str, session: str | None, parents: tuple[str, ...], *, asks: bool) -> Family:
        for parent in reversed(parents):
            if (found := self._families.get((tenant, parent))) is not None:
                return found
        if session is None or asks or parents:
            return [*parents]
        return self._sessions.get((tenant, user, session), [])
