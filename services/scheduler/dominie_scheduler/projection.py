"""What the log says of the scheduler's world: who holds which slot, and how many slots each model has."""

from dataclasses import dataclass
from typing import Self

from dominie_contracts import Recorded
from dominie_contracts.model import ModelsOffered
from dominie_contracts.registry import parse_event
from dominie_contracts.scheduler import Charge, PermitGranted, PermitReleased
from dominie_eventstore import InMemory
from dominie_scheduler.aggregate import State, evolve


class Slots(InMemory):
    """A projection of the category `permit`."""

    def __init__(self) -> None:
        self.position = 0
        self.state = State()
        self._ahead: dict[str, PermitGranted | PermitReleased] = {}
        """By id: what is written, and not yet read from the log."""

    def write(self, id: str, event: PermitGranted | PermitReleased) -> None:
        """Take in an event that is about to be written; the log hands it on later, and then it changes nothing."""
        self._ahead[id] = event
        self.state = evolve(self.state, event)

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if self._ahead.pop(event.envelope.id, None) is not None:
            return
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, PermitGranted | PermitReleased):
            self.state = evolve(self.state, payload)

    def become(self, built: Self) -> None:
        """Take over what the built one knows, but for what is written and still to be read."""
        ahead = self._ahead
        super().become(built)
        self._ahead = ahead
        for event in ahead.values():
            self.state = evolve(self.state, event)

    def reset(self) -> None:
        """Forget everything; what is written and still to be read too."""
        self._ahead = {}
        super().reset()


@dataclass(frozen=True, slots=True)
class Budget:
    """A run that has a ceiling: what it may spend, as its latest call said."""

    tenant: str
    user: str | None
    charge: Charge


class Budgets(InMemory):
    """A projection of the category `permit`: the runs that have a ceiling, as calls are charged to them."""

    def __init__(self) -> None:
        self.position = 0
        self._found: dict[str, Budget] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, PermitGranted):
            for key, charge in zip(payload.charged, payload.charges, strict=False):  # older ones have no charges
                self._found.pop(key, None)
                self._found[key] = Budget(event.envelope.tenant, event.envelope.on_behalf_of, charge)

    def of(self, tenant: str, *, user: str | None, run: str) -> list[tuple[str, Budget]]:
        """Those of a tenant whose run's id begins so, and of a user, where one is named; whose call was last first."""
        found = ((key, each) for key, each in reversed(self._found.items()) if each.tenant == tenant)
        return [(key, each) for key, each in found if user in (None, each.user) and each.charge.run.startswith(run)]


class Offers(InMemory):
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

    def slots(self, model: str, default: int) -> int:
        """How many calls at once a model takes."""
        return self._slots.get(model, default)
