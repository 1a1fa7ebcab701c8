"""Keeps the log in segments: opens the next one when it is time, has what is sealed archived, and then removes it.

The operator's work. Audit writes the archive and checks it, and has no right to remove anything; whoever removes has
no part in the archive, and takes audit's word that it is whole.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from dominie_contracts import Message
from dominie_contracts.audit import ArchivedSegment, ArchiveSegment, ArchiveState
from dominie_contracts.envelope import unpack_position
from dominie_eventstore import Roller, Segments, SegmentState, rolling
from dominie_kit.errors import ArchiveFailed
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.operator import Operator
from dominie_kit.keys.folder import KeyFolder

_ARCHIVE_S = 5.0
_POLL_S = 0.2


class Limits(BaseSettings):
    """When the open segment is sealed: `DOMINIE_SEGMENT_…`; whichever comes first."""

    model_config = SettingsConfigDict(env_prefix="DOMINIE_SEGMENT_", frozen=True, extra="ignore")

    appends: int = Field(default=1_000_000, ge=1)
    bytes: int = Field(default=2**30, ge=1)
    age_s: float | None = Field(default=None, gt=0)
    """Since its first append; none, by default."""

    def reached(self, state: SegmentState) -> bool:
        """Whether it is time."""
        if state.first is None:
            return False
        old = self.age_s is not None and datetime.now(UTC) - state.first >= timedelta(seconds=self.age_s)
        return old or state.appends >= self.appends or state.bytes >= self.bytes


class SegmentView(Message):
    """One segment, wherever it is."""

    segment: int
    state: Literal["open", "sealed", "archived"]
    appends: int | None = None
    """On the broker."""
    bytes: int | None = None
    events: int | None = None
    """In the archive."""
    streams: int | None = None


class SegmentsView(Message):
    """All segments of the log."""

    open: int
    first: int
    """The oldest one that the broker still has."""
    segments: tuple[SegmentView, ...]
    trouble: str | None = None
    """Why the last try to archive one failed."""


@asynccontextmanager
async def keeping(nats_url: str, keys: KeyFolder) -> AsyncIterator["SegmentKeeper"]:
    """A keeper on a connection of the operator's.

    Raises:
        BrokerFailed
    """
    client = await connect_operator(nats_url, keys)
    try:
        async with rolling(client) as roller:
            yield SegmentKeeper(roller, Operator(client))
    finally:
        await client.close()


class SegmentKeeper:
    """Does what is due."""

    def __init__(self, roller: Roller, asking: Operator) -> None:
        self._roller = roller
        self._asking = asking

    async def roll(self, limits: Limits | None) -> bool:
        """Open the next segment if the limits are reached, or with none if there is anything to seal.

        A roll that ended halfway is finished in any case: appends wait for it.

        Raises:
            StoreUnavailable
        """
        segments = await self._roller.segments()
        await self._roller.sweep(segments)
        state = await self._roller.state(segments.open)
        if state.closed or (state.appends and (limits is None or limits.reached(state))):
            await self._roller.roll(segments.open)
            return True
        await self._roller.tell(segments)
        return False

    async def archive(self) -> ArchiveState:
        """Have the oldest sealed segment archived, and remove those that are.

        Raises:
            ArchiveFailed: The broker has more of a segment than the archive.
            StoreUnavailable, Problem
        """
        segments = await self._roller.segments()
        wanted = segments.first if segments.first < segments.open else None
        found = await self._asking.ask(ArchiveSegment(segment=wanted), ArchiveState, timeout_s=_ARCHIVE_S)
        while segments.first < min(segments.open, len(found.archived)):
            await self._check_whole(found.archived[segments.first])
            segments = await self._roller.remove(segments.first)
        return found

    async def _check_whole(self, archived: ArchivedSegment) -> None:
        """Audit may have read from a replica that was behind; whoever removes asks the broker what there is."""
        state = await self._roller.state(archived.segment)
        _, last, _ = unpack_position(archived.last)
        if last != state.last:
            raise ArchiveFailed(
                f"segment {archived.segment} ends with append {last} in the archive and {state.last} on the broker"
            )

    async def archive_all(self, tell: Callable[[Segments], None], timeout_s: float) -> int:
        """Archive everything that is sealed; how many segments that were.

        Raises:
            ArchiveFailed: Audit could not, or not in time; it goes on where it stopped.
            StoreUnavailable, Problem
        """
        begun = segments = await self._roller.segments()
        asked = False
        try:
            async with asyncio.timeout(timeout_s):
                while segments.first < segments.open:
                    tell(segments)
                    found = await self.archive()
                    if asked and found.trouble is not None:  # the first answer tells of an earlier try
                        raise ArchiveFailed(found.trouble)
                    asked = True
                    await asyncio.sleep(_POLL_S)
                    segments = await self._roller.segments()
        except TimeoutError as error:
            raise ArchiveFailed(f"segment {segments.first} was not archived within {timeout_s:.0f} s") from error
        return segments.first - begun.first

    async def view(self) -> SegmentsView:
        """All segments.

        Raises:
            StoreUnavailable, Problem
        """
        segments = await self._roller.segments()
        found = await self._asking.ask(ArchiveSegment(), ArchiveState, timeout_s=_ARCHIVE_S)
        archived = [
            SegmentView(segment=each.segment, state="archived", events=each.events, streams=each.streams)
            for each in found.archived[: segments.first]
        ]
        here = [await self._here(each, segments) for each in range(segments.first, segments.open + 1)]
        return SegmentsView(
            open=segments.open, first=segments.first, segments=(*archived, *here), trouble=found.trouble
        )

    async def _here(self, segment: int, segments: Segments) -> SegmentView:
        state = await self._roller.state(segment)
        return SegmentView(
            segment=segment,
            state="open" if segment == segments.open else "sealed",
            appends=state.appends,
            bytes=state.bytes,
        )
