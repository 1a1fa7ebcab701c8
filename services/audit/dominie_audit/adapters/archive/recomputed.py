"""The root of a tree with some of its leaves computed anew, from bytes, and the rest as its tiles say.

Where the stored bytes are those that were recorded, it is the root of the signed checkpoint; otherwise it is another.
"""

from dominie.merkle import fold, leaf_hash, node_hash
from dominie_audit.adapters.tlog.tiles import Hashes, Tiles
from dominie_eventstore.archive import BUNDLE

_HEIGHT = BUNDLE.bit_length() - 1


class Recomputed(Hashes):
    """Give it bundles that follow one another with `take`; what it answers for their leaves comes from those."""

    def __init__(self, tiles: Tiles, size: int) -> None:
        super().__init__(tiles, size)
        self._full: dict[int, bytes] = {}
        """By its number, the root of a bundle that is full."""
        self._leaves: dict[int, bytes] = {}
        """By its place, the hash of a leaf in a bundle that is not."""
        self._first, self._end = size, 0
        """What was taken in lies between these leaves."""

    def take(self, number: int, events: list[bytes]) -> None:
        """Take in a bundle as it is stored."""
        hashes, first = [leaf_hash(raw) for raw in events], number * BUNDLE
        self._first, self._end = min(self._first, first), max(self._end, first + len(hashes))
        if len(hashes) == BUNDLE:
            self._full[number] = fold(hashes)
        else:
            self._leaves |= {first + place: leaf for place, leaf in enumerate(hashes)}

    def root(self) -> bytes:
        """The root over all leaves.

        Raises:
            TilesDamaged
        """
        return self.of(0, self._size)

    def _fold(self, first: int, height: int) -> bytes:
        if height == _HEIGHT and first // BUNDLE in self._full:
            return self._full[first // BUNDLE]
        if height == 0 and first in self._leaves:
            return self._leaves[first]
        if first >= self._end or first + (1 << height) <= self._first:
            return super()._fold(first, height)
        half = 1 << height - 1
        return node_hash(self._whole(first, height - 1), self._whole(first + half, height - 1))
