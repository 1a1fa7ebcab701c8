"""The event store in memory: for tests, and for trying a service without a broker."""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import AsyncIterator, Collection, Sequence

from dominie_contracts.envelope import GENESIS, Draft, Recorded
from dominie_contracts.subjects import StreamName
from dominie_eventstore._errors import WrongExpectedVersion
from dominie_eventstore._filters import category_filter, check_name
from dominie_eventstore._port import Appended, Durability
from dominie_eventstore._seal import digest, record, seal
from dominie_eventstore._settle import settled
from dominie_eventstore._waiting import Waiting


class MemoryEventStore:
    """An `EventStore` that forgets everything with its process; one event loop may use it."""

    def __init__(self) -> None:
        self._sequence = 0
        self._all: list[Recorded] = []
        self._streams: defaultdict[str, list[Recorded]] = defaultdict(list)
        self._categories: defaultdict[str, list[Recorded]] = defaultdict(list)
        self._grown = asyncio.Event()

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        """See `EventStore.append`."""
        name = str(stream)
        events = self._streams.get(name, [])
        if len(events) == expected_version:
            prev = digest(events[-1].raw) if events else GENESIS
            sealed, _ = seal(name, stream.tenant, drafts, version=expected_version, prev=prev)
            return self._store(name, stream.category, record(sealed, 0, self._sequence + 1, name))
        if len(events) < expected_version:
            raise WrongExpectedVersion(name, expected=expected_version, actual=len(events))
        return settled(name, drafts, expected_version, events[expected_version:])

    def _store(self, name: str, category: str, recorded: tuple[Recorded, ...]) -> Appended:
        self._sequence += 1
        for log in (self._all, self._streams[name], self._categories[category]):
            log.extend(recorded)
        self._grown.set()
        self._grown = asyncio.Event()
        return Appended(recorded[-1].position, recorded[-1].envelope.version, lambda: recorded)

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        """See `EventStore.read`."""
        return self._streams.get(str(stream), [])[max(after_version, 0) :]

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        """See `EventStore.read_all`."""
        category_filter(category)
        for event in list(self._log(category)):
            if until is not None and event.position > until:
                return
            if event.position > after:
                yield event

    def subscribe(
        self, name: str, *, category: str | None = None, after: int = 0, skip: Collection[str] = ()
    ) -> "MemorySubscription":
        """See `EventStore.subscribe`."""
        check_name(name)
        category_filter(category)
        log = self._log(category)
        return MemorySubscription(self, log, bisect_right(log, after, key=_position), skip)

    async def grown(self) -> None:
        """Wait for the next append."""
        await self._grown.wait()

    async def last_position(self, category: str | None = None) -> int:
        """See `EventStore.last_position`."""
        category_filter(category)
        log = self._log(category)
        return log[-1].position if log else 0

    async def durability(self) -> Durability:
        """See `EventStore.durability`."""
        return Durability("none")

    def _log(self, category: str | None) -> list[Recorded]:
        return self._all if category is None else self._categories[category]


class MemorySubscription:
    """See `Subscription`."""

    def __init__(self, store: MemoryEventStore, log: list[Recorded], taken: int, skip: Collection[str]) -> None:
        self._store = store
        self._log = log
        self._taken = taken
        self._skip = skip
        self._closed = False
        self._waiting = Waiting(taken)

    def __aiter__(self) -> "MemorySubscription":
        return self

    async def __anext__(self) -> Recorded:
        while True:
            self._waiting.reached(self._taken)
            while not self._closed and self._taken >= len(self._log):
                await self._store.grown()
            if self._closed:
                raise StopAsyncIteration
            self._taken += 1
            event = self._log[self._taken - 1]
            if event.type not in self._skip:
                return event

    async def aclose(self) -> None:
        """See `Subscription.aclose`."""
        self._closed = True

    async def caught_up(self) -> None:
        """See `Subscription.caught_up`."""
        await self._waiting.until(len(self._log))


def _position(event: Recorded) -> int:
    return event.position
