"""Messages of an archived segment, as a follower takes them."""

import re
from collections.abc import Sequence

from dominie_contracts.envelope import pack_position, unpack_position
from dominie_eventstore._wire import Stored
from dominie_eventstore.archive import Archive, Index

_CATEGORY = re.compile(r"\*\.([^.]+)\.\*")


class ArchivedSource:
    """See `Source`; as many messages as there are."""

    stored = float("inf")

    def __init__(self, archive: Archive, index: Index, tail: str, start: int) -> None:
        self.ended = False
        self._archive = archive
        self._index = index
        self._stream = stream_of(tail)
        self._numbers = numbers_of(index, tail)
        self._at = index.beyond(self._numbers, pack_position(index.segment, start, 0) - 1)

    async def take(self) -> Stored | None:
        """The next message; None after the last one.

        Raises:
            ArchiveUnavailable, CorruptEvent
        """
        while self._at < len(self._numbers):
            message = self._index.message_of(self._numbers[self._at])
            self._at += len(message)
            if events := await self._archive.events(self._index, message, self._stream):
                _, sequence, _ = unpack_position(events[0].position)
                data = b"\n".join(event.raw for event in events)
                return Stored(self._index.segment, sequence, f"evt.{self._index.segment}.{events[0].stream}", data)
        self.ended = True
        return None

    def give_up(self) -> None:
        """Nobody waits here."""


def numbers_of(index: Index, tail: str) -> Sequence[int]:
    """The numbers in a segment of the events of a stream, or of a filter of streams."""
    if tail == ">":
        return index.of_category(None)
    found = _CATEGORY.fullmatch(tail)
    return index.of_category(found[1]) if found else index.of_stream(tail)


def stream_of(tail: str) -> str | None:
    """The stream, if it is not a filter of them."""
    return None if "*" in tail or ">" in tail else tail
