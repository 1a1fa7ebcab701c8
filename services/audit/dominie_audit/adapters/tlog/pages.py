"""Events of the read model with their places in the tree, as many as a reply holds."""

import base64
from collections.abc import Iterator, Sequence

from dominie.merkle import leaf_hash
from dominie_audit.adapters.tlog.proving import inclusion
from dominie_audit.adapters.tlog.tiles import CachedTiles, Hashes, Tiles
from dominie_audit.aggregate import Row
from dominie_contracts import Conflict
from dominie_contracts.audit import Leaf

_ENVELOPE_BYTES = 100
"""A leaf's JSON without its bytes and hashes."""
_HASH_CHARS = 47


def page(
    rows: Sequence[Row], tiles: Tiles, size: int, *, stored: int, proofs: bool, max_bytes: int
) -> tuple[Leaf, ...]:
    """Rows as leaves of the tree of the first `size` events, as many as fit; at least one.

    Args:
        rows: Events that are among the first `size`.
        tiles: Of a tree that may have grown since.
        size: Where proofs lead to.
        stored: How far the tiles go.
        proofs: Whether they are wanted.
        max_bytes: Of the reply.

    Raises:
        Conflict: A row is not the event that the tree has.
        TilesDamaged
    """
    found = list[Leaf]()
    for leaf in _leaves(rows, CachedTiles(tiles.folder), size, stored, proofs):
        max_bytes -= _ENVELOPE_BYTES + len(leaf.raw) + _HASH_CHARS * len(leaf.proof)
        if max_bytes < 0 and found:
            break
        found.append(leaf)
    return tuple(found)


def _leaves(rows: Sequence[Row], tiles: Tiles, size: int, stored: int, proofs: bool) -> Iterator[Leaf]:
    hashes = Hashes(tiles, stored)
    for row in rows:
        index = tiles.index_of(row.position, stored)
        if index is None or leaf_hash(row.raw) != tiles.leaf(index, stored):
            why = f"the event at position {row.position} is not the one that was recorded: run `dominie audit verify`"
            raise Conflict(why, position=row.position)
        proof = encoded(inclusion(hashes, index, size)) if proofs else ()
        yield Leaf(position=row.position, index=index, raw=base64.b64encode(row.raw).decode(), proof=proof)


def encoded(hashes: Sequence[bytes]) -> tuple[str, ...]:
    """Hashes as replies hold them."""
    return tuple(base64.b64encode(each).decode() for each in hashes)
