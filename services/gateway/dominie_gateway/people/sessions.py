"""Who is signed in with a browser: in this process's memory, until it is over or they are stopped."""

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dominie_contracts.identity import Suspended
from dominie_contracts.people import Vouched

MAX_S = 8 * 3600
MAX_SESSIONS = 10_000
"""One more, and the oldest is over."""


class Stopped(Protocol):
    """Who was stopped, as `dominie_kit.edge.standing.Standing` knows it."""

    def is_revoked(self, tenant: str, principal: str) -> bool:
        """Whether the principal's identity was taken away."""
        ...

    def suspension(self, tenant: str, principal: str) -> Suspended | None:
        """The suspension that stands."""
        ...


@dataclass(frozen=True, slots=True)
class Session:
    """A person whom identity vouched for, in one browser."""

    tenant: str
    principal: str
    groups: tuple[str, ...]
    until_s: float


class Sessions:
    """Those that are not over, by ids that nobody guesses."""

    def __init__(self, stopped: Stopped, *, clock: Callable[[], float] = time.time) -> None:
        self._stopped = stopped
        self._clock = clock
        self._open: OrderedDict[str, Session] = OrderedDict()

    def open(self, who: Vouched) -> tuple[str, int]:
        """Begin one; its id, and for how many seconds it is good."""
        now_s = self._clock()
        until_s = min(float(who.until_s), now_s + MAX_S)
        id_ = secrets.token_urlsafe(32)
        self._open[id_] = Session(who.tenant, who.principal, who.groups, until_s)
        if len(self._open) > MAX_SESSIONS:
            self._open.popitem(last=False)
        return id_, max(0, int(until_s - now_s))

    def find(self, id_: str) -> Session | None:
        """The session with this id, if it is not over, and whose it is was not stopped."""
        found = self._open.get(id_)
        if found is None:
            return None
        owner = (found.tenant, found.principal)
        stopped = self._stopped.is_revoked(*owner) or self._stopped.suspension(*owner) is not None
        if stopped or not self._clock() < found.until_s:
            self.end(id_)
            return None
        return found

    def end(self, id_: str) -> bool:
        """End one; whether there was one."""
        return self._open.pop(id_, None) is not None
