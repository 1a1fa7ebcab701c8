"""Is the log still what a checkpoint says?"""

from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator
from contextlib import aclosing
from itertools import islice

from anyio.to_thread import run_sync

from dominie.merkle import leaf_hash
from dominie.notes import Checkpoint
from dominie_audit.adapters.tlog.published import LogDiffers
from dominie_audit.adapters.tlog.tiles import Tiles, TilesDamaged
from dominie_audit.adapters.tlog.tree import Edge
from dominie_contracts import Recorded
from dominie_eventstore import CorruptEvent, EventStore


class Comparison:
    """Is told of events in order, and finds the first that is not what it was.

    Attributes:
        size: How many leaves were compared, or were left out at the beginning.
        after: The position of the last one that is left out.
    """

    def __init__(self, checkpoint: Checkpoint, leaves: Iterator[tuple[bytes, int]] | None) -> None:
        self._checkpoint = checkpoint
        self._leaves = leaves
        self._edge = Edge()
        self._first = 0
        self.size = self.after = 0

    @classmethod
    def of(cls, checkpoint: Checkpoint, tiles: Tiles, newest: int | None = None) -> "Comparison":
        """Read the tiles once: they can name an event only if they lead to the checkpoint's root themselves.

        With `newest`, no more than so many leaves are compared, the last ones; where the tiles hold.
        """
        try:
            authentic = tiles.root_of_leaves(checkpoint.size) == checkpoint.root
        except TilesDamaged:
            authentic = False
        found = cls(checkpoint, tiles.leaves(checkpoint.size) if authentic else None)
        if newest is not None:
            found._leave_out(checkpoint.size - newest)
        return found

    def _leave_out(self, leaves: int) -> None:
        if self._leaves is not None:
            for _, position in islice(self._leaves, max(0, leaves)):
                self.after = position
                self.size += 1

    def take(self, event: Recorded) -> None:
        """Compare the next event.

        Raises:
            LogDiffers: It is not the one that was recorded there.
        """
        if self.size == self._checkpoint.size:
            return
        leaf = leaf_hash(event.raw)
        self._first = self._first or event.position
        if self._leaves is not None:
            expected, position = next(self._leaves)
            if leaf != expected:
                raise self._differs(position, _stream(event), _why(event, position))
        self._edge.add(leaf)
        self.size += 1
        whole = not self.after and self.size == self._checkpoint.size
        if whole and self._edge.root() != self._checkpoint.root:
            raise self._differs(self._first, "?", "its root is another, and the tiles that would say where are damaged")

    def end(self) -> None:
        """There are no more events.

        Raises:
            LogDiffers: There should be.
        """
        if self.size == self._checkpoint.size:
            return
        position = self._first if self._leaves is None else next(self._leaves)[1]
        raise self._differs(position, "?", f"the log ends after {self.size} events")

    def _differs(self, position: int, stream: str, why: str) -> LogDiffers:
        return LogDiffers(position, index=self.size, stream=stream, why=why, size=self._checkpoint.size)


async def compared(
    events: AsyncIterable[Recorded] | Iterable[Recorded], checkpoint: Checkpoint, tiles: Tiles
) -> AsyncGenerator[Recorded, None]:
    """Events as they come, until one is not what the checkpoint says.

    Raises:
        LogDiffers
    """
    async with aclosing(_told(await run_sync(Comparison.of, checkpoint, tiles), events)) as told:
        async for event in told:
            yield event


async def check_start(store: EventStore, checkpoint: Checkpoint, tiles: Tiles, *, newest: int | None = None) -> None:
    """Check what the checkpoint covers, or the newest events of it, before anything is served.

    Raises:
        LogDiffers, StoreUnavailable, CorruptEvent
    """
    comparison = await run_sync(Comparison.of, checkpoint, tiles, newest)
    async with aclosing(_told(comparison, store.read_all(after=comparison.after))) as told:
        async for _ in told:
            pass


async def _told(
    comparison: Comparison, events: AsyncIterable[Recorded] | Iterable[Recorded]
) -> AsyncGenerator[Recorded, None]:
    try:
        if isinstance(events, AsyncIterable):
            async for event in events:
                comparison.take(event)
                yield event
        else:
            for event in events:
                comparison.take(event)
                yield event
        comparison.end()
    finally:
        if isinstance(events, AsyncGenerator):
            await events.aclose()


def _why(event: Recorded, position: int) -> str:
    if event.position != position:
        return f"the event at position {event.position} stands in its place"
    return "its bytes are not those that were recorded"


def _stream(event: Recorded) -> str:
    try:
        return event.stream
    except (CorruptEvent, ValueError):
        return "?"
