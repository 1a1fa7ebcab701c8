"""The read model of what runs were given: every outcome, opened once a tool is called whose arguments have roles.

It holds a bounded part of the past. A run that it had to let go has nothing that vouches, and everything that it makes
counts as untrusted: nothing becomes better by being forgotten.
"""

from collections import OrderedDict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

from anyio import Lock
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Finished
from dominie_contracts.registry import parse_event
from dominie_contracts.seen import Seen
from dominie_contracts.tool import TOOL
from dominie_eventstore import InMemory

_FINISHED = f"{TOOL}.{Finished.KIND}"
_BYTES = 32 * 2**20
"""Of all runs together, as they came or as they were read."""
_RUN_BYTES = 8 * 2**20
_FORGOTTEN = 100_000
"""So many runs are known to have been let go; of one before them it is not known that it was given anything."""
Run = tuple[str, str]
"""A tenant, and the id of its run."""


class _Told(BaseModel):
    """What is needed of the event `Finished` before anybody asks for what it says."""

    tenant: str
    correlationid: str | None = None


@dataclass(slots=True)
class _Given:
    """What one run was given."""

    seen: Seen = field(default_factory=Seen)
    unread: deque[Recorded] = field(default_factory=deque)
    unread_bytes: int = 0
    reading: Lock = field(default_factory=Lock)
    counted: int = 0
    """What of its size is counted with all runs."""

    @property
    def size(self) -> int:
        return self.unread_bytes + self.seen.size

    async def read(self) -> Seen:
        """All of it, opened; others have their turn in between."""
        async with self.reading:
            while self.unread:
                event = self.unread[0]
                finished = parse_event(event.type, event.envelope.data)
                name = StreamName.parse(event.envelope.stream)
                assert isinstance(finished, Finished)
                for _ in self.seen.taking(finished, f"{name.category}:{name.id}"):
                    await checkpoint()
                self.unread.popleft()
                self.unread_bytes -= len(event.raw)
        return self.seen


class Sources(InMemory):
    """What each run was given, from the category `tool`."""

    def __init__(self, *, most_bytes: int = _BYTES) -> None:
        self.position = 0
        self._most_bytes = most_bytes
        self._bytes = 0
        self._runs: OrderedDict[Run, _Given] = OrderedDict()
        self._forgotten: OrderedDict[Run, None] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if event.type != _FINISHED:
            return
        told = _Told.model_validate_json(event.raw)
        run = told.tenant, told.correlationid or ""
        if told.correlationid is None or run in self._forgotten:
            return
        given = self._runs.setdefault(run, _Given())
        given.unread.append(event)
        given.unread_bytes += len(event.raw)
        self._runs.move_to_end(run)
        self._count(run, given)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)(most_bytes=self._most_bytes)

    async def of(self, tenant: str, run: str | None) -> Seen:
        """What a run was given so far."""
        key = tenant, run or ""
        given = self._runs.get(key)
        if given is None:
            return gone() if key in self._forgotten else Seen()
        seen = await given.read() if given.unread else given.seen
        if key in self._runs:
            self._count(key, given)
        return seen if key in self._runs else gone()

    async def beside(self, tenant: str, run: str | None, family: Sequence[str] | None) -> tuple[Seen, ...]:
        """What the other runs of its family were given; None: nobody knows which those are."""
        if family is None:
            return (gone(),)
        return tuple([await self.of(tenant, other) for other in family if other != run])

    def _count(self, run: Run, given: _Given) -> None:
        self._bytes += given.size - given.counted
        given.counted = given.size
        if given.size > _RUN_BYTES:
            self._forget(run)
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._most_bytes and len(self._runs) > 1:
            self._forget(next(iter(self._runs)))

    def _forget(self, run: Run) -> None:
        self._bytes -= self._runs.pop(run).counted
        self._forgotten[run] = None
        if len(self._forgotten) > _FORGOTTEN:
            self._forgotten.popitem(last=False)


def gone() -> Seen:
    """What a run was given that was let go, or that nobody can read here: anything."""
    seen = Seen()
    seen.lose()
    return seen
