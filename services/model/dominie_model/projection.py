"""What the log knows: the offers, and what the runs were told by their models and their tools."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Finished
from dominie_contracts.model import ModelsOffered
from dominie_contracts.provenance import Label
from dominie_contracts.registry import parse_event
from dominie_contracts.seen import given
from dominie_eventstore import InMemory
from dominie_model.aggregate import State, evolve
from dominie_model.labelling import told

_BYTES = 16 * 2**20
_A_TEXT = 300
"""About how many bytes it takes to know one."""


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


class _Told(BaseModel):
    """What is needed of the event `Finished` before anybody asks what it says."""

    tenant: str
    correlationid: str | None = None


@dataclass(slots=True)
class _Run:
    known: dict[str, Label] = field(default_factory=dict)
    unread: list[Recorded] = field(default_factory=list)
    unread_bytes: int = 0

    @property
    def size(self) -> int:
        return self.unread_bytes + _A_TEXT * len(self.known)

    def read(self) -> dict[str, Label]:
        """All of it, opened."""
        for event in self.unread:
            finished, name = parse_event(event.type, event.envelope.data), StreamName.parse(event.stream)
            assert isinstance(finished, Finished)
            label = given(finished, f"{name.category}:{name.id}")
            self.known.update(dict.fromkeys(told(name.category, finished.result), label))
        self.unread.clear()
        self.unread_bytes = 0
        return self.known


class Told(InMemory):
    """The texts that the outcomes of one category gave to each run, by digest; of a run that was let go, none."""

    def __init__(self, *, most_bytes: int = _BYTES) -> None:
        self.position = 0
        self._most_bytes = most_bytes
        self._bytes = 0
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if not event.type.endswith(f".{Finished.KIND}"):
            return
        said = _Told.model_validate_json(event.raw)
        if said.correlationid is None:
            return
        key = said.tenant, said.correlationid
        run = self._runs.setdefault(key, _Run())
        run.unread.append(event)
        run.unread_bytes += len(event.raw)
        self._bytes += len(event.raw)
        self._runs.move_to_end(key)
        self._make_room()

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)(most_bytes=self._most_bytes)

    def of(self, tenant: str, run: str | None) -> dict[str, Label]:
        """The texts that a run was given, by digest, and where they came from."""
        found = self._runs.get((tenant, run or ""))
        if found is None:
            return {}
        before = found.size
        known = found.read()
        self._bytes += found.size - before
        self._make_room()
        return known

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and self._runs:
            _, gone = self._runs.popitem(last=False)
            self._bytes -= gone.size
