"""Archives sealed segments, one at a time: writes them, reads them again, checks them, and only then says so.

A segment is archived when its index is there; that is written last. Whatever ends in the middle is begun again, and
writes the same bytes.
"""

from contextlib import aclosing

import anyio
import structlog
from anyio.to_thread import run_sync

from dominie_audit.adapters.archive.ours import Ours
from dominie_audit.adapters.archive.recomputed import Recomputed
from dominie_audit.adapters.tlog.published import Latest, Published
from dominie_audit.adapters.tlog.tiles import CHECKPOINT, TilesDamaged
from dominie_audit.adapters.tlog.tree import WIDTH, tile
from dominie_contracts import Problem, Unavailable
from dominie_contracts.audit import ArchivedSegment, ArchiveSegment, ArchiveState
from dominie_contracts.envelope import pack_position, unpack_position
from dominie_eventstore import EventStore, EventStoreError
from dominie_eventstore.archive import (
    BUNDLE,
    BlobMissing,
    Blobs,
    Index,
    IndexDraft,
    decode_bundle,
    encode_bundle,
    entries_path,
    segment_path,
    tile_path,
)
from dominie_kit import Context

log = structlog.get_logger()
_POLL_S = 0.2
_CHECKPOINT_S = 60.0


class NotArchived(Exception):
    """What was written is not what the signed checkpoint says, or none says anything of it yet."""


class Archiver:
    """Archives what it is asked for, in a task of its own."""

    def __init__(self, store: EventStore, published: Published, blobs: Blobs) -> None:
        self._store = store
        self._published = published
        self._blobs = blobs
        self._ours = Ours(published, blobs)
        self._known: list[Index] = []
        self._looking = anyio.Lock()
        self._wanted: int | None = None
        self._asked = anyio.Event()
        self._trouble: str | None = None

    async def answer(self, command: ArchiveSegment, context: Context) -> ArchiveState:
        """What is archived; a segment that is asked for and is not will be.

        Raises:
            ArchiveDiffers: The archive is another log's.
            Unavailable: The archive cannot be read, or compared yet.
        """
        segment = command.segment
        try:
            archived = await self._archived()
        except (OSError, ValueError, TilesDamaged) as error:
            raise Unavailable(f"the archive cannot be read: {error}", retry_after_s=5) from error
        trouble = self._trouble
        if segment is not None and segment >= len(archived) and self._wanted is None:
            self._wanted, self._trouble = segment, None
            self._asked.set()
        return ArchiveState(
            archived=tuple(
                ArchivedSegment(
                    segment=each.segment,
                    first=each.first,
                    events=each.events,
                    streams=each.streams,
                    last=each.positions[-1] if each.events else 0,
                )
                for each in archived
            ),
            under_way=self._wanted,
            trouble=trouble,
        )

    async def run(self) -> None:
        """Archive, for ever; what fails is told, and done when it is asked for again."""
        while True:
            await self._asked.wait()
            self._asked = anyio.Event()
            wanted = self._wanted
            assert wanted is not None
            try:
                while (segment := len(await self._archived())) <= wanted:
                    await self._archive(segment)
            except (EventStoreError, NotArchived, TilesDamaged, OSError, ValueError, BlobMissing, Problem) as error:
                self._trouble = f"segment {wanted}: {error}"
                log.error("archive.failed", segment=wanted, error=str(error))
            finally:
                self._wanted = None

    async def _archived(self) -> list[Index]:
        async with self._looking:  # two at once would count one segment twice
            await run_sync(self._ours.check_checkpoint)
            while True:
                try:
                    self._known.append(await run_sync(self._ours.index, len(self._known), self._end()))
                except BlobMissing:
                    return self._known

    def _end(self) -> int:
        """How many events are archived."""
        return self._known[-1].first + self._known[-1].events if self._known else 0

    async def _archive(self, segment: int) -> None:
        first = self._end()
        draft = await self._write(segment, first)
        end = first + draft.events
        latest = await self._checkpoint(end)
        await run_sync(self._check_end, segment, latest, end)
        await run_sync(self._check, latest, first, end)
        await run_sync(self._publish, latest, first)
        await run_sync(self._blobs.put, segment_path(segment), await run_sync(draft.encode))
        log.warning("segment.archived", segment=segment, events=draft.events)

    async def _write(self, segment: int, first: int) -> IndexDraft:
        """Write the segment's bundles. The first one may hold the last events of the segment before it."""
        draft, number = IndexDraft(segment, first), first // BUNDLE
        bundle = await run_sync(self._bundle, number, first % BUNDLE) if first % BUNDLE else []
        after, until = pack_position(segment, 0, 0), pack_position(segment + 1, 0, 0)
        async with aclosing(self._store.read_all(after=after, until=until)) as events:  # type: ignore[type-var]
            async for event in events:
                found, _, _ = unpack_position(event.position)
                if found != segment:
                    break
                draft.add(event.position, event.stream)
                bundle.append(event.raw)
                if len(bundle) == BUNDLE:
                    await run_sync(self._put, number, bundle)
                    number, bundle = number + 1, []
        if bundle:
            await run_sync(self._put, number, bundle)
        return draft

    async def _checkpoint(self, end: int) -> Latest:
        """A signed checkpoint that covers as many events; one is signed every second.

        Raises:
            NotArchived: None was, in time.
        """
        with anyio.move_on_after(_CHECKPOINT_S):
            while True:
                latest = self._published.latest()
                if latest is not None and latest.checkpoint.size >= end:
                    return latest
                await anyio.sleep(_POLL_S)
        raise NotArchived(f"no checkpoint covers its {end} events")

    def _check_end(self, segment: int, latest: Latest, end: int) -> None:
        """Whether all of the segment was read: the tree's next event is of a later one.

        Raises:
            NotArchived
        """
        size = latest.checkpoint.size
        if size > end and unpack_position(self._published.tiles.position(end, size))[0] == segment:
            raise NotArchived("the log has more of it than was read")

    def _check(self, latest: Latest, first: int, end: int) -> None:
        """Read what was written, and compute the root over it.

        Raises:
            NotArchived: It is another than the signed one.
        """
        hashes = Recomputed(self._published.tiles, latest.checkpoint.size)
        for number in range(first // BUNDLE, -(-end // BUNDLE)):
            hashes.take(number, self._bundle(number, min(BUNDLE, end - number * BUNDLE)))
        if hashes.root() != latest.checkpoint.root:
            raise NotArchived("what is in the archive is not what the signed checkpoint says")

    def _publish(self, latest: Latest, first: int) -> None:
        """Put the hashes beside the events, and then the checkpoint that they lead to."""
        size, level = latest.checkpoint.size, 0
        while level == 0 or size >> 8 * level:
            hashes = size >> 8 * level
            for number in range((first >> 8 * level) // WIDTH, -(-hashes // WIDTH)):
                width = min(WIDTH, hashes - number * WIDTH)
                data = b"".join(self._published.tiles.hashes(level, number, width))
                self._blobs.put(tile_path(tile(level), number, width), data)
            level += 1
        self._blobs.put(CHECKPOINT, latest.note.encode())

    def _put(self, number: int, events: list[bytes]) -> None:
        self._blobs.put(entries_path(number, len(events)), encode_bundle(events), compressed=True)

    def _bundle(self, number: int, width: int) -> list[bytes]:
        found = decode_bundle(self._blobs.get(entries_path(number, width)))
        if len(found) != width:
            raise ValueError(f"bundle {number} has {len(found)} events, not {width}")
        return found
