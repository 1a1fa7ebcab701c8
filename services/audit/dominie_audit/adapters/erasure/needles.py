"""What is looked for when a person is erased: pieces of what they said, and their keys."""

import json
import re
from base64 import b64decode
from collections.abc import Iterable, Iterator

from ahocorasick_rs import BytesAhoCorasick, Implementation
from pydantic import JsonValue

from dominie_contracts.artifact import reference
from dominie_contracts.keys import SubjectKey

SHORTEST, LONGEST = 8, 64
"""Bytes: the shortest piece that says something, and as many of a longer one as are looked for."""
MOST = 50_000
"""So many pieces of one person are looked for: a larger table is slower, and stops the service while it is made."""
_WINDOW, _PREFIX = 12, 3
_TABLE_BYTES = 300_000
"""Up to here a table of all states takes some 20 MB; it is read twice as fast as what takes less."""
_TELLING = re.compile(rb"[ 0-9@]|[^\x00-\x7f]")
_RARE = re.compile(rb"[0-9@]")


class Needles:
    """Pieces that are looked for all at once, however many they are (Aho and Corasick 1975)."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self.all = sorted({piece[:LONGEST] for piece in pieces if len(piece) >= SHORTEST})
        small = sum(map(len, self.all)) <= _TABLE_BYTES
        how = Implementation.DFA if small else Implementation.ContiguousNFA
        self._automaton = BytesAhoCorasick(self.all, implementation=how)

    def __len__(self) -> int:
        return len(self.all)

    def found_in(self, data: bytes) -> set[bytes]:
        """Those that stand in some bytes, over one another too."""
        found = self._automaton.find_matches_as_indexes(data, overlapping=True)
        return {self.all[number] for number in {number for number, _, _ in found}}


class Sample:
    """Pieces of what was said; where it was very much, as many as may be, picked by chance."""

    def __init__(self, most: int = MOST) -> None:
        self.pieces = set[bytes]()
        self._most = most
        self._mask = 0

    def add(self, values: Iterable[JsonValue]) -> None:
        """Take what somebody said."""
        self.pieces.update(piece for piece in pieces_of(values) if self._kept(piece))
        while len(self.pieces) > self._most:
            self._mask = self._mask * 2 + 1
            self.pieces = {piece for piece in self.pieces if self._kept(piece)}

    def _kept(self, piece: bytes) -> bool:
        return not hash(piece) & self._mask


def pieces_of(values: Iterable[JsonValue]) -> set[bytes]:
    """Pieces of what was said: 12 bytes from the beginning of each word, and the ends of words that are like no other.

    An index may hold words without their beginnings. One plain word says nothing of a person, and stands in many files.
    """
    texts = {form for value in values for text in _texts(value) for form in (text, json.dumps(text)[1:-1])}
    pieces = {piece for text in texts for piece in _pieces(text.encode(errors="surrogatepass"))}
    return {piece for piece in pieces if len(piece) >= SHORTEST and _TELLING.search(piece)}


def pieces_of_key(key: SubjectKey) -> Iterator[bytes]:
    """A key as text, in bytes and in hex."""
    raw = b64decode(key.secret)
    yield from (key.secret.encode(), raw, raw.hex().encode())


def _pieces(raw: bytes) -> Iterator[bytes]:
    start = 0
    for word in raw.split(b" "):
        yield raw[start : start + _WINDOW]
        if _RARE.search(word):
            yield word[_PREFIX:LONGEST]
        start += len(word) + 1


def _texts(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict() if reference(value) is None:
            for part in value.values():
                yield from _texts(part)
        case list():
            for part in value:
                yield from _texts(part)
        case _:
            pass
