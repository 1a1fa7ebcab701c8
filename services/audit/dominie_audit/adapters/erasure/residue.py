"""Looks for pieces of what a person said, and of their keys, in every file of a folder. It reads, and keeps nothing."""

import os
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import JsonValue

from dominie_contracts.identity import SubjectKey

PIECE = 8
"""Bytes: the shortest piece that says something. Files are read through with windows of this size."""
_CHUNK = 1 << 20
_WINDOW, _PREFIX = 12, 3
_TELLING = re.compile(rb"[ 0-9@]|[^\x00-\x7f]")
_RARE = re.compile(rb"[0-9@]")


class Needles:
    """Pieces to look for, by their first bytes, so that a file is read once however many there are."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._by_head: dict[bytes, set[bytes]] = {}
        for piece in pieces:
            if len(piece) >= PIECE:
                self._by_head.setdefault(piece[:PIECE], set()).add(piece)
        self._longest = max((len(piece) for found in self._by_head.values() for piece in found), default=PIECE)

    def __len__(self) -> int:
        return sum(map(len, self._by_head.values()))

    def stand_in(self, path: Path) -> bool:
        """Whether one of them stands in a file, across its chunks too."""
        kept = b""
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                data = kept + chunk
                if next(self.found_in(data), None) is not None:
                    return True
                kept = data[-self._longest :]
        return False

    @property
    def all(self) -> set[bytes]:
        """Every piece."""
        return {piece for pieces in self._by_head.values() for piece in pieces}

    def found_in(self, data: bytes) -> Iterator[bytes]:
        """Those that stand in some bytes, as often as they do."""
        heads = self._by_head
        for at in range(len(data) - PIECE + 1):
            found = heads.get(data[at : at + PIECE])
            if found is not None:
                yield from (piece for piece in found if data.startswith(piece, at))


def pieces_of(values: Iterable[JsonValue], clear: bytes) -> set[bytes]:
    """Pieces of what was said: 12 bytes from the beginning of each word, and the ends of words that are like no other.

    An index may hold words without their beginnings. One plain word says nothing of a person, and stands in many files;
    nor does what also stands in the clear part of their events.
    """
    texts = {text for value in values for text in _texts(value)}
    pieces = {piece for text in texts for piece in _pieces(text.encode(errors="surrogatepass"))}
    needles = Needles(piece for piece in pieces if _TELLING.search(piece))
    return needles.all - set(needles.found_in(clear))


def _pieces(raw: bytes) -> Iterator[bytes]:
    start = 0
    for word in raw.split(b" "):
        yield raw[start : start + _WINDOW]
        if _RARE.search(word):
            yield word[_PREFIX:]
        start += len(word) + 1


def pieces_of_key(key: SubjectKey) -> Iterator[bytes]:
    """A key as text, in bytes and in hex."""
    raw = b64decode(key.secret)
    yield from (key.secret.encode(), raw, raw.hex().encode())


def files_of(folder: Path) -> Iterator[Path]:
    """Every file below a folder that can be read."""
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if path.is_file() and not path.is_symlink() and os.access(path, os.R_OK):
                yield path


def residue(folder: Path, needles: Needles) -> tuple[int, tuple[str, ...]]:
    """How many files there are, and which of them hold a needle."""
    count, found = 0, list[str]()
    for path in files_of(folder):
        try:
            held = needles.stand_in(path)
        except FileNotFoundError:  # it was rebuilt meanwhile
            continue
        count += 1
        if held:
            found.append(str(path.relative_to(folder)))
    return count, tuple(sorted(found))


def held(folder: Path, needles: Needles) -> dict[str, int]:
    """By the first folder of its path, in how many files a needle stands."""
    stores: dict[str, int] = {}
    for name in residue(folder, needles)[1]:
        store = name.partition("/")[0]
        stores[store] = stores.get(store, 0) + 1
    return stores


def _texts(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)
        case _:
            pass
