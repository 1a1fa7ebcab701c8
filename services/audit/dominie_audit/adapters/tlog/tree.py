"""The right edge of a growing tree: all that has to be held to add leaves and to know the root. Pure."""

from dataclasses import dataclass
from hashlib import sha256
from itertools import count

from dominie.merkle import EMPTY, fold
from dominie_contracts import Recorded
from dominie_eventstore.archive import tile_path

WIDTH = 256
"""Hashes in a tile."""
POSITION = "position"


def tile(level: int) -> str:
    """The folder of a level's tiles."""
    return f"tile/{level}"


class Edge:
    """By level, the hashes that do not fill a tile yet."""

    def __init__(self, rows: list[list[bytes]] | None = None) -> None:
        self.rows = rows or [[]]

    def add(self, leaf: bytes) -> list[list[bytes]]:
        """Add a leaf's hash; the rows that it filled, from level 0."""
        row = self.rows[0]
        row.append(leaf)
        return self._fill() if len(row) == WIDTH else []

    def root(self) -> bytes:
        """The root of the tree."""
        below: list[bytes] = []
        for row in self.rows:
            if row or below:
                below = [fold(row + below)]
        return below[0] if below else EMPTY

    def _fill(self) -> list[list[bytes]]:
        filled: list[list[bytes]] = []
        for level in count():
            row = self.rows[level]
            if len(row) < WIDTH:
                return filled
            filled.append(row)
            self.rows[level] = []
            if level + 1 == len(self.rows):
                self.rows.append([])
            self.rows[level + 1].append(fold(row))
        raise AssertionError


@dataclass(frozen=True, slots=True)
class Cut:
    """The tree at one size, and the files that are new since it was last stored."""

    size: int
    root: bytes
    full: tuple[tuple[str, bytes], ...]
    """Complete tiles, by their paths."""
    partial: tuple[tuple[str, bytes], ...]


class Tree:
    """A tree of events, and the tiles that it filled and nobody stored yet.

    Attributes:
        size: How many leaves.
        position: Of the last one, in the event store.
    """

    def __init__(self) -> None:
        self.size = 0
        self.position = 0
        self._edge = Edge()
        self._positions: list[int] = []
        self._full: list[tuple[str, bytes]] = []

    @classmethod
    def at(cls, size: int, rows: list[list[bytes]], positions: list[int], position: int) -> "Tree":
        """A tree whose complete tiles are stored."""
        found = cls()
        found.size, found.position = size, position
        found._edge, found._positions = Edge(rows), positions
        return found

    def append(self, event: Recorded) -> None:
        """Add one event."""
        self.size += 1
        self.position = event.position
        self._positions.append(event.position)
        if filled := self._edge.add(sha256(b"\0" + event.raw).digest()):
            self._keep(filled)

    def root(self) -> bytes:
        """The root over all leaves."""
        return self._edge.root()

    def cut(self) -> Cut:
        """What there is to store now."""
        partial = [
            (tile_path(tile(level), self.size // WIDTH ** (level + 1), len(row)), b"".join(row))
            for level, row in enumerate(self._edge.rows)
            if row
        ]
        if self._positions:
            partial.append((tile_path(POSITION, self.size // WIDTH, len(self._positions)), _packed(self._positions)))
        return Cut(self.size, self.root(), tuple(self._full), tuple(partial))

    def stored(self, cut: Cut) -> None:
        """What was cut is on disk."""
        del self._full[: len(cut.full)]

    def _keep(self, filled: list[list[bytes]]) -> None:
        self._full.append((tile_path(POSITION, self.size // WIDTH - 1), _packed(self._positions)))
        self._positions = []
        for level, row in enumerate(filled):
            self._full.append((tile_path(tile(level), self.size // WIDTH ** (level + 1) - 1), b"".join(row)))


def _packed(positions: list[int]) -> bytes:
    return b"".join(position.to_bytes(8) for position in positions)
