"""The log as one: its segments, on the broker or in the archive."""

import asyncio
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from dominie_contracts.envelope import Recorded
from dominie_eventstore._archived import ArchivedSource, numbers_of, stream_of
from dominie_eventstore._consumer import Wanted, consume
from dominie_eventstore._errors import ArchiveUnavailable
from dominie_eventstore._seal import record
from dominie_eventstore._segments import Catalogue, Segments
from dominie_eventstore._wire import Deadline, Lost, Stored, Wire, last_message
from dominie_eventstore.archive import Archive, fingerprint


class Source(Protocol):
    """Messages of one segment, in order."""

    @property
    def stored(self) -> float:
        """How many there were when it began, or no less."""
        ...

    @property
    def ended(self) -> bool:
        """Whether there are no more, whatever `stored` said."""
        ...

    async def take(self) -> Stored | None:
        """The next one; None: it has ended, or another source has to go on."""
        ...

    def give_up(self) -> None:
        """Have `take` answer None as soon as there is nothing to take."""
        ...


class Log:
    """Reads of single segments, wherever they are."""

    def __init__(self, wire: Wire, archive: Archive | None) -> None:
        self.wire = wire
        self.catalogue = Catalogue(wire)
        self._archive = archive

    @asynccontextmanager
    async def source(
        self, segments: Segments, wanted: Wanted, segment: int, start: int, timeout_s: float
    ) -> AsyncIterator[Source]:
        """The messages of a segment from a sequence on.

        Raises:
            Lost, Refused: The broker does not have it, or not any more.
            ArchiveUnavailable, CorruptEvent: The archive cannot be read.
        """
        if segment < segments.first:
            archive = self._archived(segment)
            yield ArchivedSource(archive, await archive.index(segment), wanted.tail, start)
            return
        async with consume(self.wire, wanted, segment=segment, start=start, timeout_s=timeout_s) as consumer:
            yield consumer

    async def last(self, segment: int, tail: str, deadline: Deadline) -> Sequence[Recorded]:
        """The events of the last message in a segment of a stream, or of a filter of streams.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        while True:
            if await self.is_archived(segment, deadline):
                return await self._last_archived(segment, tail)
            try:
                found = await last_message(self.wire, segment, tail, timeout_s=deadline.attempt_s)
            except Lost as error:
                self.catalogue.doubt()
                await deadline.pause(error)
            else:
                return [] if found is None else events_of(found)

    async def has_before(self, segment: int, stream: str, deadline: Deadline) -> bool:
        """Whether the stream has events in an earlier segment.

        One request for each sealed segment that is on the broker, and a look into an index for each archived one.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        first = min((await self.catalogue.get(deadline)).first, segment)
        name = fingerprint(stream)
        for earlier in range(first):
            if (await self._archived(earlier).index(earlier)).has(name):
                return True
        return any(await asyncio.gather(*(self.last(each, stream, deadline) for each in range(first, segment))))

    async def is_archived(self, segment: int, deadline: Deadline) -> bool:
        """Whether a segment is in the archive alone.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        return segment < (await self.catalogue.get(deadline)).first

    async def all_archived(self, segment: int, stream: str) -> Sequence[Recorded]:
        """A stream's events in an archived segment.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        archive = self._archived(segment)
        index = await archive.index(segment)
        return await archive.events(index, index.of_stream(stream), stream)

    async def _last_archived(self, segment: int, tail: str) -> Sequence[Recorded]:
        archive = self._archived(segment)
        index = await archive.index(segment)
        for number in reversed(numbers_of(index, tail)):
            if found := await archive.events(index, index.message_of(number), stream_of(tail)):
                return found
        return []

    def _archived(self, segment: int) -> Archive:
        if self._archive is None:
            raise ArchiveUnavailable(f"segment {segment} of the log is in the archive, and none is configured here")
        return self._archive


def events_of(message: Stored, after: int = 0, skip: Collection[str] = ()) -> Sequence[Recorded]:
    """The events of one message with a position beyond `after`, but for those of some types."""
    stream = message.subject.split(".", 2)[2]
    return record(message.data.split(b"\n"), message.segment, message.sequence, stream, after=after, skip=skip)
