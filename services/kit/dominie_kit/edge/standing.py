"""Who is registered, who is suspended and who is revoked, as the log says: every edge asks before it serves."""

import time
from collections.abc import Callable
from typing import Self

from dominie_contracts import Forbidden, Problem, Recorded, RunClaims, Unauthenticated
from dominie_contracts.identity import Erased, Registered, Resumed, Revoked, Suspended
from dominie_contracts.keys import KeysChanged
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import RunEnded
from dominie_eventstore import InMemory


class Standing(InMemory):
    """A projection of the category `principal`; it tells who was erased, and which keys are taken."""

    def __init__(
        self,
        on_erased: Callable[[Erased, int], None] | None = None,
        on_keys: Callable[[KeysChanged, int], None] | None = None,
    ) -> None:
        self.position = 0
        self._on_erased, self._on_keys = on_erased, on_keys
        self._registered: dict[tuple[str, str], Registered] = {}
        self._since_s: dict[tuple[str, str], float] = {}
        """When that was written."""
        self._revoked: set[tuple[str, str]] = set()
        self._suspended: dict[tuple[str, str], Suspended] = {}
        self._ended: set[tuple[str, str]] = set()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        match parse_event(event.envelope.type, event.envelope.data):
            case Registered() as registered:
                self._registered[registered.tenant, registered.principal] = registered
                self._since_s[registered.tenant, registered.principal] = event.envelope.time.timestamp()
            case Revoked() as revoked:
                self._revoked.add((revoked.tenant, revoked.principal))
            case Suspended() as suspended:
                self._suspended[suspended.tenant, suspended.principal] = suspended
            case Resumed() as resumed:
                self._suspended.pop((resumed.tenant, resumed.principal), None)
            case RunEnded() as ended:
                self._ended.add((ended.tenant, ended.run))
            case KeysChanged() as changed if self._on_keys is not None:
                self._on_keys(changed, event.position)
            case Erased() as erased if self._on_erased is not None:
                self._on_erased(erased, event.position)
            case _:
                pass

    def fresh(self) -> Self:
        """One that knows nothing, for the same listeners."""
        return type(self)(self._on_erased, self._on_keys)

    def is_revoked(self, tenant: str, principal: str) -> bool:
        """Whether the principal's identity was taken away, or its sponsor's, without whom it does not stand."""
        if not self._revoked:
            return False
        if (tenant, principal) in self._revoked:
            return True
        registered = self._registered.get((tenant, principal))
        return registered is not None and (tenant, registered.sponsor) in self._revoked

    def objection(self, claims: RunClaims) -> Problem | None:
        """Why a run token that holds is not good any more, beside its agent: None where it is."""
        if not (self._revoked or self._suspended or self._ended):
            return None
        tenant = claims.tenant
        for principal in (claims.sub, *claims.actors[1:]):
            if self.is_revoked(tenant, principal):
                return Unauthenticated(f"{principal} has been revoked")
            if (suspended := self.suspension(tenant, principal)) is not None:
                return Forbidden(suspended.words)
        if self._ended:
            for run in (claims.run, *claims.parents):
                if (tenant, run) in self._ended:
                    return Unauthenticated(f"run {run!r} was ended; begin another")
        return None

    def takes_key(self, claims: RunClaims) -> bool:
        """Whether a token is bound to a key that its agent has, though not to the one that we know as the last.

        It is the one before, and is taken still; or identity bound it to one that we have yet to read of.
        """
        who = (claims.tenant, claims.agent)
        registered = self._registered[who]
        return registered.takes(claims.cnf.nkey, time.time()) or claims.iat > self._since_s[who] + 1

    def suspension(self, tenant: str, principal: str) -> Suspended | None:
        """The suspension of a principal that stands."""
        return self._suspended.get((tenant, principal))

    def stands(self, tenant: str, principal: str) -> bool:
        """Whether what somebody has said counts still: whose identity was taken away may never have been themselves."""
        return self.find(tenant, principal) is not None and self.suspension(tenant, principal) is None

    def granted(self, tenant: str, tool: str) -> list[str]:
        """The principals whose registration grants a tool, by name."""
        found = (registered for (owner, _), registered in self._registered.items() if owner == tenant)
        return sorted(
            each.principal
            for each in found
            if each.grants.allow("tools", tool) and not self.is_revoked(tenant, each.principal)
        )

    def find(self, tenant: str, principal: str) -> Registered | None:
        """The registration of a principal that stands."""
        return None if self.is_revoked(tenant, principal) else self._registered.get((tenant, principal))
