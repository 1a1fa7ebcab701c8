"""The offers that the log knows."""

from dominie_contracts import Recorded
from dominie_contracts.model import ModelsOffered
from dominie_contracts.registry import parse_event
from dominie_eventstore import InMemory
from dominie_model.aggregate import State, evolve


class Offered(InMemory):
    """A projection of the category `offer`."""

    def __init__(self) -> None:
        self.position = 0
        self.version = 0
        self.state = State()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position, self.version = event.position, event.envelope.version
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ModelsOffered):
            self.state = evolve(self.state, payload)
