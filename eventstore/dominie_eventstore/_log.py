"""The log as one: its segments on the broker, whichever they are."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Protocol

from dominie_contracts.envelope import Recorded
from dominie_eventstore._consumer import Wanted, consume
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._seal import record
from dominie_eventstore._segments import Catalogue, Segments
from dominie_eventstore._wire import Deadline, Lost, Stored, Wire, last_message


class Source(Protocol):
    """Messages of one segment, in order."""

    @property
    def stored(self) -> int:
        """How many there were when it began."""
        ...

    async def take(self) -> Stored | None:
        """The next one; None: ask for another source, which begins with the next one."""
        ...

    def give_up(self) -> None:
        """Have `take` answer None as soon as there is nothing to take."""
        ...


class Log:
    """Reads of single segments, wherever they are."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.catalogue = Catalogue(wire)

    @asynccontextmanager
    async def source(
        self, segments: Segments, wanted: Wanted, segment: int, start: int, timeout_s: float
    ) -> AsyncIterator[Source]:
        """The messages of a segment from a sequence on.

        Raises:
            Lost, Refused: It cannot be read, or may have been removed.
            StoreUnavailable: It is not on the broker any more.
        """
        _check_here(segments, segment)
        async with consume(self.wire, wanted, segment=segment, start=start, timeout_s=timeout_s) as consumer:
            yield consumer

    async def last(self, segment: int, tail: str, deadline: Deadline) -> Sequence[Recorded]:
        """The events of the last message in a segment of a stream, or of a filter of streams.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        while True:
            _check_here(await self.catalogue.get(deadline), segment)
            try:
                found = await last_message(self.wire, segment, tail, timeout_s=deadline.attempt_s)
            except Lost as error:
                self.catalogue.doubt()
                await deadline.pause(error)
            else:
                return [] if found is None else events_of(found)


def _check_here(segments: Segments, segment: int) -> None:
    if segment < segments.first:
        raise StoreUnavailable(f"segment {segment} of the log is in the archive, and no archive is configured here")


def events_of(message: Stored, after: int = 0) -> Sequence[Recorded]:
    """The events of one message with a position beyond `after`."""
    stream = message.subject.split(".", 2)[2]
    events = record(message.data.split(b"\n"), message.segment, message.sequence, stream)
    return events if events[0].position > after else [event for event in events if event.position > after]
