"""Reading many messages in order: a consumer after the other, and a segment of the log after the other."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from dominie_contracts.envelope import unpack_position
from dominie_eventstore._consumer import Wanted, stored_from
from dominie_eventstore._errors import ArchiveUnavailable
from dominie_eventstore._log import Log, Source
from dominie_eventstore._waiting import Waiting
from dominie_eventstore._wire import Deadline, Lost, Refused, Stored

_FOR_EVER = float("inf")
_ARCHIVE_PAUSE_S = 0.5


class Follower:
    """Messages from that of a position on, in order, each once."""

    def __init__(
        self,
        log: Log,
        wanted: Wanted,
        *,
        after: int,
        timeout_s: float,
        for_ever: bool = False,
        last: int | None = None,
        until: int = 0,
    ) -> None:
        """Follow.

        Args:
            after: The position; its own message is handed out again, for it may have later events.
            timeout_s: How long the store may be away: at the beginning, and if not `for_ever`, each time.
            for_ever: Otherwise it ends with the last message that was stored when it began.
            last: The segment to end with; that of the last message, if none is given.
            until: A sequence in it that it must not end before: the replica that answers may be behind.
        """
        self._log = log
        self._wanted = wanted
        self._segment, start, _ = unpack_position(after)
        self._start = max(start, 1)
        self._timeout_s = timeout_s
        self._for_ever = for_ever
        self._last = last
        self._until = until
        self._behind: tuple[int, Deadline] | None = None
        """From where on there is nothing yet, and until when that may be so."""
        self._handed_out = 0
        self._done = Waiting()
        self._entered = Waiting(-1)
        """The segment that is being read."""

    async def messages(self) -> AsyncGenerator[Stored, None]:
        """Read them.

        Raises:
            StoreUnavailable: The store was away for too long.
        """
        end, end_left = (None, None) if self._for_ever else await self._end()
        patience_s = self._timeout_s
        while end is None or self._segment <= end:
            async with self._reading(patience_s) as (source, sealed):
                self._entered.reached(self._segment)
                left: float = source.stored if sealed or end is not None else _FOR_EVER
                if self._segment == end and end_left is not None:
                    left = end_left
                while left and (message := await self._next(source)) is not None:
                    self._start = message.sequence + 1
                    self._handed_out += 1
                    left -= 1
                    yield message
                    self._done.reached(self._handed_out)
                left = 0 if source.ended else left
            patience_s = _FOR_EVER if self._for_ever else self._timeout_s
            if self._segment == end:
                end_left = left
            if not left and self._segment == end and self._start <= self._until:
                await self._another_replica()
                end_left = None
            elif not left:
                self._segment, self._start = self._segment + 1, 1

    async def _another_replica(self) -> None:
        """Let the next consumer begin, perhaps elsewhere, where this one's replica had no more.

        Raises:
            StoreUnavailable: None has, by now.
        """
        if self._behind is None or self._behind[0] != self._start:
            what = f"reading {self._wanted.tail} up to {self._until} in segment {self._segment}"
            self._behind = (self._start, Deadline(what, self._timeout_s))
        await self._behind[1].pause()

    async def caught_up(self) -> None:
        """Wait until every message that is stored now was handed out and done with."""
        deadline = self._deadline(_FOR_EVER)
        while True:
            segments = await self._log.catalogue.now(deadline)
            await self._entered.until(segments.open)
            segment, start, handed_out = self._segment, self._start, self._handed_out
            try:
                more = await stored_from(
                    self._log.wire, self._wanted.tail, segment=segment, start=start, timeout_s=deadline.attempt_s
                )
            except (Lost, Refused) as error:
                await deadline.pause(error)
            else:
                await self._done.until(handed_out + more)
                return

    async def _next(self, source: Source) -> Stored | None:
        try:
            return await source.take()
        except ArchiveUnavailable:
            if not self._for_ever:
                raise
            await asyncio.sleep(_ARCHIVE_PAUSE_S)
            return None

    async def _end(self) -> tuple[int, float | None]:
        """The segment to end with; where it is not the one to begin with, how many messages it has, too."""
        if self._last is not None:
            return self._last, None
        deadline = self._deadline(self._timeout_s)
        while True:
            segment = (await self._log.catalogue.now(deadline)).open
            if segment <= self._segment:
                return segment, None
            try:
                return segment, await stored_from(
                    self._log.wire, self._wanted.tail, segment=segment, start=1, timeout_s=deadline.attempt_s
                )
            except (Lost, Refused) as error:
                await deadline.pause(error)

    @asynccontextmanager
    async def _reading(self, patience_s: float) -> AsyncIterator[tuple[Source, bool]]:
        """The messages of this segment that come next, and whether there will be no more in it.

        Raises:
            StoreUnavailable: They cannot be read in time.
        """
        deadline = self._deadline(patience_s)
        async with AsyncExitStack() as stack:
            while True:
                segments = await self._log.catalogue.get(deadline)
                try:
                    source = await stack.enter_async_context(
                        self._log.source(segments, self._wanted, self._segment, self._start, deadline.attempt_s)
                    )
                    break
                except (Lost, Refused, ArchiveUnavailable) as error:
                    self._log.catalogue.doubt()
                    await deadline.pause(error)
            with self._log.catalogue.telling(source.give_up):
                if self._log.catalogue.known != segments:
                    source.give_up()
                yield source, self._segment < segments.open

    def _deadline(self, patience_s: float) -> Deadline:
        return Deadline(f"reading {self._wanted.tail}", patience_s)
