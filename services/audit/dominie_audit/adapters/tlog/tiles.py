"""Tiles as files, and what is read from them: hashes, positions, and the tree at a stored size."""

import os
import shutil
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock

from dominie.merkle import HASH_BYTES, fold, node_hash
from dominie_audit.adapters.tlog.tree import POSITION, WIDTH, Cut, Edge, Tree, tile
from dominie_eventstore.archive import tile_path

_POSITION_BYTES = 8
_CACHED = 64
"""Tiles, while proofs are made."""
CHECKPOINT, WITNESSED = "checkpoint", "witnessed"


class TilesDamaged(Exception):
    """A tile is gone, or is not what it should be."""


class Tiles:
    """The files of a transparency log in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._replacing = Lock()

    def note(self, name: str = CHECKPOINT) -> str | None:
        """A stored checkpoint, if there is one."""
        try:
            return (self.folder / name).read_text()
        except FileNotFoundError:
            return None

    def store(self, cut: Cut, note: str) -> None:
        """Write what is new, and then the checkpoint that speaks of it; each file whole."""
        for path, data in (*cut.full, *cut.partial):
            self._write(path, data)
        with self._replacing:
            self._write(CHECKPOINT, note.encode())
        for path, _ in cut.full:
            shutil.rmtree(self.folder / f"{path}.p", ignore_errors=True)

    def cosign(self, note: str, lines: str, *, witnessed: bool) -> None:
        """Add signatures to a checkpoint, if it is still the last one; and store it as the last that is witnessed."""
        with self._replacing:
            if self.note() == note:
                self._write(CHECKPOINT, (note + lines).encode())
        if witnessed:
            self._write(WITNESSED, (note + lines).encode())

    def tree(self, size: int) -> Tree:
        """The tree at a size that was stored.

        Raises:
            TilesDamaged
        """
        rows, level = [], 0
        while level == 0 or size >> 8 * level:
            hashes = size >> 8 * level
            rows.append(self.hashes(level, hashes // WIDTH, hashes % WIDTH))
            level += 1
        positions = self.positions(size // WIDTH, size % WIDTH)
        return Tree.at(size, rows, positions, self.position(size - 1, size) if size else 0)

    def hashes(self, level: int, number: int, width: int) -> list[bytes]:
        """The first hashes of a tile.

        Raises:
            TilesDamaged
        """
        return _split(self._read(tile(level), number, width, HASH_BYTES), HASH_BYTES)

    def positions(self, number: int, width: int) -> list[int]:
        """Where the event store has the first leaves of a tile.

        Raises:
            TilesDamaged
        """
        packed = self._read(POSITION, number, width, _POSITION_BYTES)
        return [int.from_bytes(each) for each in _split(packed, _POSITION_BYTES)]

    def position(self, index: int, size: int) -> int:
        """Where the event store has a leaf.

        Raises:
            TilesDamaged
        """
        return self.positions(index // WIDTH, _width(index // WIDTH, size))[index % WIDTH]

    def leaf(self, index: int, size: int) -> bytes:
        """The hash of a leaf.

        Raises:
            TilesDamaged
        """
        return self.hashes(0, index // WIDTH, _width(index // WIDTH, size))[index % WIDTH]

    def index_of(self, position: int, size: int) -> int | None:
        """The leaf of an event, if it is among the first `size`.

        Raises:
            TilesDamaged
        """
        low, high = 0, size
        while low < high:
            middle = (low + high) // 2
            found = self.position(middle, size)
            if found == position:
                return middle
            low, high = (middle + 1, high) if found < position else (low, middle)
        return None

    def leaves(self, size: int) -> Iterator[tuple[bytes, int]]:
        """Hash and position of each of the first leaves.

        Raises:
            TilesDamaged
        """
        for number in range(-(-size // WIDTH)):
            width = _width(number, size)
            yield from zip(self.hashes(0, number, width), self.positions(number, width), strict=True)

    def root_of_leaves(self, size: int) -> bytes:
        """The root that the stored leaves have, whatever the other levels say.

        Raises:
            TilesDamaged
        """
        edge = Edge()
        for leaf, _ in self.leaves(size):
            edge.add(leaf)
        return edge.root()

    def _read(self, kind: str, number: int, width: int, bytes_each: int) -> bytes:
        """The first of a tile's items: from the whole tile, or from the partial one of just that width."""
        if width == 0:
            return b""
        whole = tile_path(kind, number)
        for path in (
            whole,
            tile_path(kind, number, width),
            whole,
        ):  # a partial one goes only when the whole one is there
            try:
                found = (self.folder / path).read_bytes()
            except FileNotFoundError:
                continue
            if len(found) < width * bytes_each or len(found) % bytes_each:
                raise TilesDamaged(f"{path} has {len(found)} bytes")
            return found[: width * bytes_each]
        raise TilesDamaged(f"{whole} is not there")

    def _write(self, path: str, data: bytes) -> None:
        at = self.folder / path
        at.parent.mkdir(parents=True, exist_ok=True)
        draft = at.with_name(f".{at.name}.new")
        with draft.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(at)
        if at.parent == self.folder:
            _sync(at.parent)  # a witness may hear of it now, and it must not be gone after a power cut


class CachedTiles(Tiles):
    """The same files, each tile read once, while many questions about one size are answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._hashes = lru_cache(maxsize=_CACHED)(super().hashes)
        self._positions = lru_cache(maxsize=_CACHED)(super().positions)

    def hashes(self, level: int, number: int, width: int) -> list[bytes]:
        """As `Tiles` has it."""
        return self._hashes(level, number, width)

    def positions(self, number: int, width: int) -> list[int]:
        """As `Tiles` has it."""
        return self._positions(number, width)


class Hashes:
    """Roots of subtrees of one stored tree, by their leaves.

    A subtree that is whole is read from a tile: of level h // 8, where its height is h.
    """

    def __init__(self, tiles: Tiles, size: int) -> None:
        self._size = size
        self._row = lru_cache(maxsize=_CACHED)(tiles.hashes)
        self._whole = lru_cache(maxsize=_CACHED * WIDTH)(self._fold)

    def of(self, first: int, end: int) -> bytes:
        """The root over the leaves from `first` to before `end`, as RFC 6962 parts them.

        Raises:
            TilesDamaged
        """
        leaves = end - first
        height = leaves.bit_length() - 1
        if leaves == 1 << height:
            return self._whole(first, height)
        part = 1 << height
        return node_hash(self.of(first, first + part), self.of(first + part, end))

    def _fold(self, first: int, height: int) -> bytes:
        level, rest = divmod(height, 8)
        number, at = divmod(first >> 8 * level, WIDTH)
        row = self._row(level, number, _width(number, self._size >> 8 * level))
        return fold(row[at : at + (1 << rest)])


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _width(number: int, size: int) -> int:
    """How many items a tile has in a tree of that size."""
    return min(WIDTH, size - number * WIDTH)


def _split(packed: bytes, length: int) -> list[bytes]:
    return [packed[at : at + length] for at in range(0, len(packed), length)]
