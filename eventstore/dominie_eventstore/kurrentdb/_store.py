"""The event store on KurrentDB."""

import sys
from collections.abc import AsyncGenerator, Collection, Sequence
from contextlib import aclosing

from dominie_contracts.envelope import Draft, Recorded
from dominie_contracts.subjects import StreamName
from dominie_eventstore._errors import WrongExpectedVersion
from dominie_eventstore._filters import check_name
from dominie_eventstore._port import DEFAULT_TIMEOUT_S, Appended, Durability
from dominie_eventstore._seal import StoredEvent, digest, seal
from dominie_eventstore._settle import settled
from dominie_eventstore._tails import Tail, Tails, new
from dominie_eventstore._wire import Deadline, Lost
from dominie_eventstore.kurrentdb._database import Database, Raced
from dominie_eventstore.kurrentdb._names import HOUSE, Names
from dominie_eventstore.kurrentdb._records import new_events, recorded
from dominie_eventstore.kurrentdb._subscription import KurrentDBSubscription

_WHOLE = 0
"""KurrentDB's log has one segment."""


class KurrentDBEventStore:
    """An `EventStore` in a KurrentDB, or an EventStoreDB from 22.10 on; one event loop may use it.

    Args:
        url: As KurrentDB's clients take it: `kurrentdb://HOST:2113?tls=false`.
        house: How the names of its streams begin.
        timeout_s: How long the database may be away before a request is given up.

    Raises:
        ValueError: That is no such address, or no such beginning.
    """

    def __init__(self, url: str, *, house: str = HOUSE, timeout_s: float = DEFAULT_TIMEOUT_S) -> None:
        self._names = Names(house)
        self._database = Database(url)
        self._timeout_s = timeout_s
        self._tails = Tails()

    async def aclose(self) -> None:
        """Close the connection; whoever still reads is told that the store is away."""
        await self._database.close()

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        """See `EventStore.append`. One round trip if the stream is new or this store wrote it last; two for several."""
        name = str(stream)
        deadline = Deadline(f"append to {name}", self._timeout_s if timeout_s is None else timeout_s)
        tail = self._tails.get(name, _WHOLE) or (new(_WHOLE) if expected_version == 0 else None)
        while True:
            if tail is None or tail.version < expected_version:
                tail = await self._look(stream, deadline)
            if tail.version != expected_version:
                return await self._decide(stream, drafts, expected_version, tail, deadline)
            sealed, last = seal(name, stream.tenant, drafts, version=expected_version, prev=tail.digest)
            position = await self._offer(stream, drafts, sealed, expected_version, deadline)
            if position is not None:
                break
            self._tails.forget(name)
            tail = None
        version = expected_version + len(sealed)
        self._tails.put(name, Tail(_WHOLE, version, position, last))
        placed = await self._placed(stream, sealed, expected_version, position, deadline)
        return Appended(position, version, lambda: placed)

    async def _offer(
        self, stream: StreamName, drafts: Sequence[Draft], sealed: Sequence[bytes], after: int, deadline: Deadline
    ) -> int | None:
        """Append; the last event's position, or None if others were faster or the answer was lost."""
        events = new_events(drafts, sealed)
        try:
            return await self._database.append(self._names.stored(stream), events, after, timeout_s=deadline.attempt_s)
        except Lost as error:
            await deadline.pause(error)
            return None
        except Raced:
            deadline.check()
            return None

    async def _placed(
        self, stream: StreamName, sealed: Sequence[bytes], after: int, position: int, deadline: Deadline
    ) -> tuple[Recorded, ...]:
        """What was appended, with each event's position; the server tells the last one's alone."""
        if len(sealed) == 1:
            return (StoredEvent(position, sealed[0], str(stream)),)
        while len(found := await self._read(stream, after, deadline, limit=len(sealed))) < len(sealed):
            await deadline.pause()
        return tuple(found)

    async def _look(self, stream: StreamName, deadline: Deadline) -> Tail:
        """Where the stream ends now."""
        while True:
            try:
                found = await self._database.last_of(self._names.stored(stream), timeout_s=deadline.attempt_s)
                break
            except Lost as error:
                await deadline.pause(error)
        if found is None:
            return new(_WHOLE)
        tail = Tail(_WHOLE, found.stream_position + 1, found.commit_position, digest(found.data))
        self._tails.put(str(stream), tail)
        return tail

    async def _decide(
        self, stream: StreamName, drafts: Sequence[Draft], expected: int, tail: Tail, deadline: Deadline
    ) -> Appended:
        if tail.version < expected:
            raise WrongExpectedVersion(str(stream), expected=expected, actual=tail.version)
        while not (found := await self._read(stream, expected, deadline)):
            await deadline.pause()
        return settled(str(stream), drafts, expected, found)

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        """See `EventStore.read`."""
        return await self._read(stream, max(after_version, 0), Deadline(f"reading {stream}", self._timeout_s))

    async def _read(
        self, stream: StreamName, after: int, deadline: Deadline, *, limit: int = sys.maxsize
    ) -> list[Recorded]:
        while True:
            try:
                stored = self._names.stored(stream)
                found = await self._database.read(stored, after=after, limit=limit, timeout_s=deadline.left_s)
                return [recorded(event).checked() for event in found]
            except Lost as error:
                await deadline.pause(error)

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncGenerator[Recorded, None]:
        """See `EventStore.read_all`. That the last event has come, and not only the answer's end, is what ends it."""
        names = self._names.prefix(category)
        last = await self.last_position(category)
        last = last if until is None else min(last, until)
        deadline = Deadline(f"reading {names}", self._timeout_s)
        while after < last:
            try:
                async with aclosing(self._database.forwards(names, after)) as events:
                    async for event in events:
                        if event.commit_position > last:
                            return
                        if event.commit_position > after:
                            after = event.commit_position
                            yield recorded(event).checked()
                            deadline = Deadline(f"reading {names}", self._timeout_s)
                        if after == last:
                            return
                raise Lost(f"reading {names}: it ended before position {last}")
            except Lost as error:
                await deadline.pause(error)

    def subscribe(
        self, name: str, *, category: str | None = None, after: int = 0, skip: Collection[str] = ()
    ) -> KurrentDBSubscription:
        """See `EventStore.subscribe`."""
        check_name(name)
        names = self._names.prefix(category)
        return KurrentDBSubscription(self._database, names, after, skip, timeout_s=self._timeout_s)

    async def last_position(self, category: str | None = None) -> int:
        """See `EventStore.last_position`. The server reads backwards until it meets one of the category."""
        names = self._names.prefix(category)
        deadline = Deadline("asking for the last event", self._timeout_s)
        while True:
            try:
                return await self._database.last_position(names)
            except Lost as error:
                await deadline.pause(error)

    async def durability(self) -> Durability:
        """See `EventStore.durability`. A node by itself does not say whether it syncs its disk: it may keep nothing."""
        deadline = Deadline("asking how the log is kept", self._timeout_s)
        while True:
            try:
                nodes = await self._database.voters(timeout_s=deadline.attempt_s)
                return Durability("quorum", nodes) if nodes > 1 else Durability("none")
            except Lost as error:
                await deadline.pause(error)
