"""Entry bundles (c2sp.org/tlog-tiles): up to 256 events one after the other, each behind its length.

A length is two bytes, as the specification has it. An event that is longer than they can say is outside of it: it
stands behind 0xFFFF and a length of four bytes.
"""

import gzip
from collections.abc import Sequence

BUNDLE = 256
_ESCAPE = 0xFFFF
_LEVEL = 1


def tile_path(kind: str, number: int, width: int = BUNDLE) -> str:
    """Where a tile is: its number in groups of three digits, all but the last one behind an `x`."""
    groups = f"{number % 1000:03}"
    while number := number // 1000:
        groups = f"x{number % 1000:03}/{groups}"
    return f"{kind}/{groups}" if width == BUNDLE else f"{kind}/{groups}.p/{width}"


def entries_path(number: int, width: int = BUNDLE) -> str:
    """Where a bundle is."""
    return tile_path("tile/entries", number, width)


def encode_bundle(events: Sequence[bytes]) -> bytes:
    """A bundle as it is stored; the same events always give the same bytes."""
    parts = []
    for raw in events:
        size = len(raw)
        parts += [size.to_bytes(2) if size < _ESCAPE else _ESCAPE.to_bytes(2) + size.to_bytes(4), raw]
    return gzip.compress(b"".join(parts), _LEVEL, mtime=0)


def decode_bundle(stored: bytes) -> list[bytes]:
    """The events of a stored bundle.

    Raises:
        ValueError: It is none, or was cut short.
    """
    try:
        data = gzip.decompress(stored)
    except (OSError, EOFError) as error:
        raise ValueError(f"it is no bundle: {error}") from error
    found, at = list[bytes](), 0
    while at < len(data):
        size, at = int.from_bytes(data[at : at + 2]), at + 2
        if size == _ESCAPE:
            size, at = int.from_bytes(data[at : at + 4]), at + 4
        if at + size > len(data):
            raise ValueError("it was cut short")
        found.append(data[at : at + size])
        at += size
    return found
