"""The secrets that are kept, sealed."""

from dominie_contracts import Recorded
from dominie_contracts.registry import parse_event
from dominie_contracts.secrets import SecretKept, SecretRemoved, SecretView
from dominie_eventstore import InMemory
from dominie_tool.secrets.aggregate import State, evolve


class Kept(InMemory):
    """A projection of the category `secret`."""

    def __init__(self) -> None:
        self.position = 0
        self._kept: dict[tuple[str, str], tuple[State, int]] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, SecretKept | SecretRemoved):
            since_ms = int(event.envelope.time.timestamp() * 1000)
            self._kept[event.envelope.tenant, payload.name] = (evolve(payload), since_ms)

    def find(self, tenant: str, name: str) -> State:
        """A secret of a tenant, or None."""
        return self._kept.get((tenant, name), (None, 0))[0]

    def all(self, tenant: str) -> tuple[SecretView, ...]:
        """A tenant's secrets, by name."""
        found = ((state, since) for (owner, _), (state, since) in sorted(self._kept.items()) if owner == tenant)
        return tuple(view(state, since) for state, since in found if state is not None)


def view(kept: SecretKept, since_ms: int) -> SecretView:
    """A secret without its value."""
    return SecretView(name=kept.name, hosts=kept.hosts, tools=kept.tools, by=kept.by, since_ms=since_ms)
