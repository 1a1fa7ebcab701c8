"""Where streams end: what is needed to append to one without asking first."""

from collections import OrderedDict
from typing import NamedTuple

from dominie_contracts.envelope import GENESIS

DEFAULT_TAILS = 16_384
"""About 0.5 kB each."""


class Tail(NamedTuple):
    """The last event of a stream, as the next one in the open segment has to know it."""

    segment: int
    """The one that was open then."""
    version: int
    sequence: int
    """Of its message; 0 if that is in an earlier segment."""
    digest: str
    """The SHA-256 of its bytes."""


def new(segment: int) -> Tail:
    """Of a stream without events."""
    return Tail(segment, 0, 0, GENESIS)


class Tails:
    """The ends of the streams used last; the least recently used is forgotten first."""

    def __init__(self, size: int = DEFAULT_TAILS) -> None:
        self._size = size
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tails)

    def get(self, name: str, segment: int) -> Tail | None:
        """The stream's end, if it is remembered since this segment is the open one.

        What was remembered before is forgotten: others may have written until that segment was sealed.
        """
        tail = self._tails.get(name)
        return tail if tail is not None and tail.segment == segment else None

    def put(self, name: str, tail: Tail) -> None:
        """Remember a stream's end."""
        self._tails[name] = tail
        self._tails.move_to_end(name)
        if len(self._tails) > self._size:
            self._tails.popitem(last=False)

    def forget(self, name: str) -> None:
        """Forget a stream's end: it may be wrong."""
        self._tails.pop(name, None)
