"""Where streams end: what is needed to append to one without asking first."""

from collections import OrderedDict
from typing import NamedTuple

from dominie_contracts.envelope import GENESIS

DEFAULT_TAILS = 16_384
"""About 0.5 kB each."""


class Tail(NamedTuple):
    """The last event of a stream: its version, its message's sequence, and the SHA-256 of its bytes."""

    version: int
    sequence: int
    digest: str


NEW = Tail(0, 0, GENESIS)
"""Of a stream without events."""


class Tails:
    """The ends of the streams used last; the least recently used is forgotten first."""

    def __init__(self, size: int = DEFAULT_TAILS) -> None:
        self._size = size
        self._tails: OrderedDict[str, Tail] = OrderedDict()

    def __len__(self) -> int:
        return len(self._tails)

    def get(self, name: str) -> Tail | None:
        """The stream's end, if it is remembered."""
        return self._tails.get(name)

    def put(self, name: str, tail: Tail) -> None:
        """Remember a stream's end."""
        self._tails[name] = tail
        self._tails.move_to_end(name)
        if len(self._tails) > self._size:
            self._tails.popitem(last=False)

    def forget(self, name: str) -> None:
        """Forget a stream's end: it may be wrong."""
        self._tails.pop(name, None)
