"""Going on in a new segment: the operator's work.

The next segment is made, the open one is closed, and only then is it said that the next one is open; so whatever is in
a later segment was appended after everything in an earlier one. To seal a stream is not enough: the broker goes on
storing a batch that was committed just before, and says nothing of it. So its subjects are taken from it first, and a
message of ours goes in behind whatever was still on its way. Each step may be done again: who dies between two of them
is followed by whoever rolls next.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nats.aio.client import Client
from nats.errors import Error

from dominie_contracts.subjects import MOVED_SUBJECT, fence_subject, segment_stream
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._operation import NOT_FOUND, Operation, operating, segment_config
from dominie_eventstore._segments import Segments
from dominie_eventstore._wire import Refused, Wire


@dataclass(frozen=True, slots=True)
class SegmentState:
    """One segment as the broker has it."""

    segment: int
    closed: bool
    """Nothing gets in any more. If it is still the open one, a roll ended halfway: appends wait for the next roll."""
    appends: int
    bytes: int
    first: datetime | None
    """When its first append was stored."""
    last: int
    """The sequence of its last append; 0 if it has none."""


@asynccontextmanager
async def rolling(nc: Client, *, timeout_s: float = 10.0) -> AsyncIterator["Roller"]:
    """A roller on the operator's connection."""
    async with operating(nc) as wire:
        yield Roller(wire, timeout_s)


class Roller:
    """Makes, seals and removes segments."""

    def __init__(self, wire: Wire, timeout_s: float) -> None:
        self._wire = wire
        self._timeout_s = timeout_s

    async def segments(self) -> Segments:
        """Which segments there are.

        Raises:
            StoreUnavailable
        """
        return (await self._operation("reading the log's segments").segments()).segments

    async def state(self, segment: int) -> SegmentState:
        """How large a segment is.

        Raises:
            StoreUnavailable
        """
        fence = fence_subject(segment)
        operation = self._operation(f"looking at segment {segment}")
        info = await self._info(operation, segment, {"subjects_filter": fence})
        config, state = info["config"], info["state"]
        fences = (state.get("subjects") or {}).get(fence, 0)  # one for each roll that got as far
        appends = state["messages"] - fences
        return SegmentState(
            segment,
            closed=bool(config.get("sealed")) or config.get("subjects") == [fence],
            appends=appends,
            bytes=state["bytes"],
            first=datetime.fromisoformat(state["first_ts"]) if appends else None,
            last=state["last_seq"] - fences,
        )

    async def roll(self, seen: int | None = None) -> Segments:
        """Seal the open segment and open the next one; others may have done so at the same time.

        Args:
            seen: The segment to seal; nothing is done if another one is open by now.

        Raises:
            StoreUnavailable: Appends may wait until it is done again.
        """
        operation = self._operation("opening the next segment")
        written = await operation.segments()
        segment = written.segments.open
        if seen is not None and seen != segment:
            return written.segments
        config = (await self._info(operation, segment))["config"]
        await operation.put_stream(segment_config(segment + 1, config["num_replicas"]))
        try:
            await self._close(operation, segment, config)
        except Refused as error:
            if not (await self._info(operation, segment))["config"].get("sealed"):  # by somebody else, meanwhile
                raise StoreUnavailable(f"sealing segment {segment}: {error}") from error
        await self._settle(operation, segment)
        found = await operation.write(written, Segments(open=segment + 1, first=written.segments.first))
        await self.tell(found)
        return found

    async def remove(self, segment: int) -> Segments:
        """Remove the oldest segment from the broker; whoever reads it goes to the archive from now on.

        It must be there, whole: nobody looks again.

        Raises:
            StoreUnavailable: It is the open one or not the oldest, or JetStream refuses.
        """
        operation = self._operation(f"removing segment {segment}")
        written = await operation.segments()
        if segment != written.segments.first or segment >= written.segments.open:
            raise StoreUnavailable(f"removing segment {segment}: there are {written.segments}")
        found = await operation.write(written, Segments(open=written.segments.open, first=segment + 1))
        await self.tell(found)
        await self.sweep(found)
        return found

    async def sweep(self, segments: Segments) -> None:
        """Delete what the broker has of removed segments, should somebody have died over it.

        Raises:
            StoreUnavailable
        """
        operation = self._operation("deleting removed segments")
        for segment in range(segments.first - 1, -1, -1):
            try:
                await operation.ask("DELETE", segment_stream(segment))
            except Refused as error:
                if error.code == NOT_FOUND:
                    return
                raise StoreUnavailable(f"deleting segment {segment}: {error}") from error

    async def tell(self, segments: Segments) -> None:
        """Say which segments there are to those who use the log; again, for those who did not hear.

        Raises:
            StoreUnavailable
        """
        try:
            await self._wire.nc.publish(MOVED_SUBJECT, segments.encode())
        except Error as error:
            raise StoreUnavailable(f"the connection to the broker cannot be used ({error!r})") from error

    async def _close(self, operation: Operation, segment: int, config: dict[str, Any]) -> None:
        if config.get("sealed"):
            return
        closed = config | {"subjects": [fence_subject(segment)]}
        await operation.ask("UPDATE", config["name"], closed)
        await operation.publish(fence_subject(segment), b"")
        await operation.ask("UPDATE", config["name"], closed | {"sealed": True})

    async def _settle(self, operation: Operation, segment: int) -> None:
        """Wait until every replica that is there has all of it: each may be asked what the sealed segment holds."""
        while True:
            cluster = (await self._info(operation, segment)).get("cluster") or {}
            replicas = cluster.get("replicas") or []
            if all(each.get("offline") or (each.get("current") and not each.get("lag")) for each in replicas):
                return
            await operation.deadline.pause()

    async def _info(self, operation: Operation, segment: int, body: Mapping[str, str] | None = None) -> dict[str, Any]:
        try:
            return await operation.ask("INFO", segment_stream(segment), body)
        except Refused as error:
            raise StoreUnavailable(f"segment {segment}: {error}") from error

    def _operation(self, what: str) -> Operation:
        return Operation(self._wire, what, self._timeout_s)
