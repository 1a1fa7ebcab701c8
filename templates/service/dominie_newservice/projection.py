"""What the log says of notes."""

from collections import defaultdict

from dominie_contracts import Recorded
from dominie_contracts.newservice import Noted
from dominie_contracts.registry import parse_event
from dominie_eventstore import InMemory
from dominie_newservice.aggregate import State, evolve


class Kept(InMemory):
    """A projection of the category `newservice`: each tenant's notes."""

    def __init__(self) -> None:
        self.position = 0
        self._tenants: defaultdict[str, State] = defaultdict(State)

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, Noted):
            tenant = event.envelope.tenant
            self._tenants[tenant] = evolve(self._tenants[tenant], payload)

    def of(self, tenant: str) -> State:
        """A tenant's notes."""
        return self._tenants.get(tenant, State())
