"""What the log says of the scheduler's world: who holds which slot, and how many slots each model has."""

from dominie_contracts import Recorded
from dominie_contracts.model import ModelsOffered
from dominie_contracts.registry import parse_event
from dominie_contracts.scheduler import PermitGranted, PermitReleased
from dominie_scheduler.aggregate import State, evolve


class Slots:
    """A projection of the category `permit`."""

    def __init__(self) -> None:
        self.position = 0
        self.state = State()
        self._ahead: set[str] = set()

    def write(self, id: str, event: PermitGranted | PermitReleased) -> None:
        """Take in an event that is about to be written; the log hands it on later, and then it changes nothing."""
        self._ahead.add(id)
        self.state = evolve(self.state, event)

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if event.envelope.id in self._ahead:
            self._ahead.remove(event.envelope.id)
            return
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, PermitGranted | PermitReleased):
            self.state = evolve(self.state, payload)

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position, self.state = 0, State()
        self._ahead.clear()


class Offers:
    """A projection of the category `offer`: slots per model."""

    def __init__(self) -> None:
        self.position = 0
        self._slots: dict[str, int] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ModelsOffered):
            self._slots = {offer.name: offer.slots for offer in payload.models}

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position, self._slots = 0, {}

    def slots(self, model: str, default: int) -> int:
        """How many calls at once a model takes."""
        return self._slots.get(model, default)
