"""Looks through all that is stored for what is left of a person; each file is read once, and nothing is kept."""

import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dominie_audit.adapters.erasure.needles import LONGEST, Needles
from dominie_eventstore.archive import BlobMissing, Blobs

_PIECE_BYTES = 1 << 20
_GZIP = b"\x1f\x8b\x08"
_WITH_GZIP_HEAD = 31
ARCHIVE = "archive"
Pieces = Iterator[bytes]


@dataclass(frozen=True, slots=True)
class Place:
    """Something stored: a file or an object. `read` raises OSError, or BlobMissing where it is gone."""

    name: str
    size: int
    read: Callable[[], Pieces]

    @property
    def store(self) -> str:
        """The first folder of its name; `.` for a file in none."""
        first, slash, _ = self.name.partition("/")
        return first if slash else "."


@dataclass(frozen=True, slots=True)
class Wanted:
    """What must stand nowhere, and the beginnings of what may stand sealed."""

    readable: frozenset[bytes]
    sealed: frozenset[bytes]
    needles: Needles

    @classmethod
    def of(cls, readable: Iterable[bytes], sealed: Iterable[bytes]) -> "Wanted":
        """Both are looked for at once."""
        one, other = frozenset(Needles(readable).all), frozenset(Needles(sealed).all)
        return cls(one, other, Needles(one | other))


@dataclass(slots=True)
class Looked:
    """What was found, and how far it is."""

    files: Counter[str] = field(default_factory=Counter)
    """By store, how many files were read."""
    held: Counter[str] = field(default_factory=Counter)
    """By store, in how many files something stands sealed."""
    residue: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    read_bytes: int = 0
    all_bytes: int = 0


class Stored:
    """All that audit can see: the files below its folder of state, and the archive, wherever that is."""

    def __init__(self, folder: Path, archive: Blobs, *, archive_folder: Path | None = None) -> None:
        """`archive_folder` is the archive's, where it has one: it is read as the archive, and not twice."""
        self._folder = folder
        self._archive = archive
        self._not = archive_folder and archive_folder.resolve()

    def places(self, unread: list[str]) -> Iterator[Place]:
        """Every file and object; the folders that cannot be listed go into `unread`."""

        def refuse(error: OSError) -> None:
            unread.append(os.path.relpath(error.filename or self._folder, self._folder))

        seen = set[Path]()
        for at, folders, names in os.walk(self._folder, onerror=refuse, followlinks=True):
            real = Path(at).resolve()
            if real in seen or real == self._not:
                folders.clear()
                continue
            seen.add(real)
            yield from (file for name in names if (file := self._file(Path(at) / name)) is not None)
        yield from self._archived(unread)

    def _file(self, path: Path) -> Place | None:
        try:
            return Place(str(path.relative_to(self._folder)), path.stat().st_size, partial(_pieces, path))
        except FileNotFoundError:  # it was rebuilt meanwhile
            return None

    def _archived(self, unread: list[str]) -> Iterator[Place]:
        try:
            for name, size in self._archive.sizes():
                yield Place(f"{ARCHIVE}/{name}", size, partial(self._archive.pieces, name))
        except OSError:
            unread.append(ARCHIVE)


def look(stored: Stored, wanted: Wanted, looked: Looked, *, between: Callable[[], None] = lambda: None) -> None:
    """Look through everything, and write down in `looked` how that goes; `between` is called between two pieces."""
    places = list(stored.places(looked.unread))
    looked.all_bytes = sum(place.size for place in places)
    for place in places:
        try:
            found = _found(_counted(place.read(), looked, between), wanted)
        except (FileNotFoundError, BlobMissing):  # it was rebuilt meanwhile
            continue
        except (OSError, zlib.error):
            looked.unread.append(place.name)
            continue
        looked.files[place.store] += 1
        looked.held[place.store] += bool(found & wanted.sealed)
        if found & wanted.readable:
            looked.residue.append(place.name)


def _found(pieces: Pieces, wanted: Wanted) -> set[bytes]:
    """Some of what stands in a file, or in what is compressed in it."""
    first = next(pieces, b"")
    plain = _Window(wanted.needles)
    inflated = _Inflated(wanted.needles) if first.startswith(_GZIP) else None
    plain.take(first)
    if inflated is not None:
        inflated.take(first)
    for piece in pieces:
        plain.take(piece)
        if inflated is not None:
            inflated.take(piece)
    return plain.found | (inflated.finish() if inflated is not None else set())


class _Window:
    """Looks through bytes that come piece by piece, across their borders too."""

    def __init__(self, needles: Needles) -> None:
        self._needles = needles
        self._kept = b""
        self.found = set[bytes]()

    def take(self, piece: bytes) -> None:
        data = self._kept + piece
        self.found |= self._needles.found_in(data)
        self._kept = data[1 - LONGEST :]


class _Inflated:
    """The same for what gzip made smaller, with bounded memory."""

    def __init__(self, needles: Needles) -> None:
        self._window = _Window(needles)
        self._inflate = zlib.decompressobj(_WITH_GZIP_HEAD)

    def take(self, piece: bytes) -> None:
        while piece:
            if self._inflate.eof:
                self._inflate = zlib.decompressobj(_WITH_GZIP_HEAD)
            self._window.take(self._inflate.decompress(piece, _PIECE_BYTES))
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data

    def finish(self) -> set[bytes]:
        self._window.take(self._inflate.flush())
        if not self._inflate.eof:
            raise zlib.error("it was cut short")
        return self._window.found


def _counted(pieces: Pieces, looked: Looked, between: Callable[[], None]) -> Pieces:
    for piece in pieces:
        between()
        looked.read_bytes += len(piece)
        yield piece


def _pieces(path: Path) -> Pieces:
    if not path.is_file():
        return
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
