"""Whether JSON is more than is read, found without reading it. What is inside of texts counts for nothing. Pure."""

from __future__ import annotations

import re
from itertools import accumulate

MOST_PARTS = 100_000
"""Lists, objects and what is in them: reading four million holds up the service for seconds, in hundreds of MB."""
MOST_DEEP = 150
"""The reader gives up a little above that."""
_BRACKET = re.compile(rb"[\[\]{}]")
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}


def crowded(data: bytes) -> bool:
    """Whether it has more parts than are read."""
    if _parts(data) <= MOST_PARTS:
        return False
    plain = data.replace(rb"\\", b"").replace(rb"\"", b"")
    if plain.count(b'"') > 4 * MOST_PARTS:  # each part has two texts at most, its name and itself
        return True
    return _parts(_outside(plain)) > MOST_PARTS


def deep(data: bytes) -> bool:
    """Whether what is not crowded is nested more deeply than is read."""
    if data.count(b"[") + data.count(b"{") <= MOST_DEEP:
        return False
    outside = _outside(data.replace(rb"\\", b"").replace(rb"\"", b""))
    return max(accumulate(_STEP[each] for each in _BRACKET.findall(outside)), default=0) > MOST_DEEP


def _outside(plain: bytes) -> bytes:
    """All but the texts of JSON in which none has a quotation mark."""
    return b"".join(plain.split(b'"')[::2])


def _parts(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")
