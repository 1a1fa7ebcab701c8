"""Who is registered, who is suspended and who is revoked, as the log says: every edge asks before it serves."""

from collections.abc import Callable
from typing import Self

from dominie_contracts import Recorded
from dominie_contracts.identity import Erased, Registered, Resumed, Revoked, Suspended
from dominie_contracts.registry import parse_event
from dominie_eventstore import InMemory


class Standing(InMemory):
    """A projection of the category `principal`; `on_erased` hears of each person that was erased."""

    def __init__(self, on_erased: Callable[[Erased, int], None] | None = None) -> None:
        self.position = 0
        self._on_erased = on_erased
        self._registered: dict[tuple[str, str], Registered] = {}
        self._revoked: set[tuple[str, str]] = set()
        self._suspended: dict[tuple[str, str], Suspended] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        match parse_event(event.envelope.type, event.envelope.data):
            case Registered() as registered:
                self._registered[registered.tenant, registered.principal] = registered
            case Revoked() as revoked:
                self._revoked.add((revoked.tenant, revoked.principal))
            case Suspended() as suspended:
                self._suspended[suspended.tenant, suspended.principal] = suspended
            case Resumed() as resumed:
                self._suspended.pop((resumed.tenant, resumed.principal), None)
            case Erased() as erased if self._on_erased is not None:
                self._on_erased(erased, event.position)
            case _:
                pass

    def fresh(self) -> Self:
        """One that knows nothing, for the same listener."""
        return type(self)(self._on_erased)

    def is_revoked(self, tenant: str, principal: str) -> bool:
        """Whether the principal's identity was taken away."""
        return (tenant, principal) in self._revoked

    def suspension(self, tenant: str, principal: str) -> Suspended | None:
        """The suspension of a principal that stands."""
        return self._suspended.get((tenant, principal))

    def find(self, tenant: str, principal: str) -> Registered | None:
        """The registration of a principal that stands."""
        return None if self.is_revoked(tenant, principal) else self._registered.get((tenant, principal))
