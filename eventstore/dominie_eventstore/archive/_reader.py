"""Reading archived segments: the same messages as the broker had."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence

from dominie_contracts.envelope import Recorded
from dominie_eventstore._errors import ArchiveUnavailable, CorruptEvent
from dominie_eventstore._seal import StoredEvent
from dominie_eventstore.archive._blobs import BlobMissing, Blobs
from dominie_eventstore.archive._bundles import BUNDLE, decode_bundle, entries_path
from dominie_eventstore.archive._index import Index, segment_path

_BUNDLES = 16
"""What is kept in memory, some 0.2 MB each."""


class Archive:
    """Archived segments, read by stream or category."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._indexes: dict[int, Index] = {}
        self._bundles: OrderedDict[int, list[bytes]] = OrderedDict()

    async def index(self, segment: int) -> Index:
        """What a segment has.

        Raises:
            ArchiveUnavailable: The archive cannot be read, or does not have it.
            CorruptEvent: It is no index.
        """
        if (found := self._indexes.get(segment)) is None:
            try:
                found = Index(await asyncio.to_thread(self._blobs.mapped, segment_path(segment)))
            except ValueError as error:
                raise CorruptEvent(segment << 40, stream="?", why=f"its archive's index: {error}") from error
            except (BlobMissing, OSError) as error:
                raise ArchiveUnavailable(f"reading segment {segment} of the archive: {error}") from error
            self._indexes[segment] = found
        return found

    async def events(self, index: Index, numbers: Sequence[int], stream: str | None = None) -> list[Recorded]:
        """Events by their numbers in the segment; only those that say they are of the `stream`, if one is given.

        Raises:
            ArchiveUnavailable, CorruptEvent
        """
        found: list[Recorded] = []
        for number in numbers:
            place, position = index.first + number, index.positions[number]
            bundle = await self._bundle(place // BUNDLE, index, position)
            event = StoredEvent(position, bundle[place % BUNDLE], None)
            if stream is None or event.stream == stream:
                found.append(event)
        return found

    async def _bundle(self, number: int, index: Index, position: int) -> list[bytes]:
        wanted = min(BUNDLE, index.first + index.events - number * BUNDLE)
        if (found := self._bundles.get(number)) is not None and len(found) >= wanted:
            self._bundles.move_to_end(number)
            return found
        try:
            found = await asyncio.to_thread(self._load, number, wanted)
        except ValueError as error:
            raise CorruptEvent(position, stream="?", why=f"its bundle in the archive: {error}") from error
        except (BlobMissing, OSError) as error:
            raise ArchiveUnavailable(f"reading the archive: {error}") from error
        self._bundles[number] = found
        if len(self._bundles) > _BUNDLES:
            self._bundles.popitem(last=False)
        return found

    def _load(self, number: int, wanted: int) -> list[bytes]:
        """A bundle with at least so many events: whole, or partial as its segment left it."""
        try:
            stored = self._blobs.get(entries_path(number))
        except BlobMissing:
            stored = self._blobs.get(entries_path(number, wanted))
        found = decode_bundle(stored)
        if len(found) < wanted:
            raise ValueError("it has too few events")
        return found
