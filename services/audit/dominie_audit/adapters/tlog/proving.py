"""Proofs from stored tiles (RFC 6962, 2.1.1 and 2.1.2)."""

from dominie.merkle import EMPTY
from dominie_audit.adapters.tlog.tiles import Hashes


def inclusion(hashes: Hashes, index: int, size: int) -> list[bytes]:
    """The hashes from a leaf to the root of the first `size` leaves of a tree; 0 <= index < size.

    Raises:
        TilesDamaged
    """
    first, end, proof = 0, size, list[bytes]()
    while end - first > 1:
        middle = first + _part(end - first)
        if index < middle:
            proof.append(hashes.of(middle, end))
            end = middle
        else:
            proof.append(hashes.of(first, middle))
            first = middle
    return proof[::-1]


def consistency(hashes: Hashes, old: int, size: int) -> list[bytes]:
    """The hashes that show that the first `size` leaves begin with the first `old`; 0 <= old <= size.

    Raises:
        TilesDamaged
    """
    first, end, proof = 0, size, list[bytes]()
    if old == 0:
        return proof
    while end > old:
        middle = first + _part(end - first)
        if old <= middle:
            proof.append(hashes.of(middle, end))
            end = middle
        else:
            proof.append(hashes.of(first, middle))
            first = middle
    if first:
        proof.append(hashes.of(first, end))
    return proof[::-1]


def root(hashes: Hashes, size: int) -> bytes:
    """The root over the first `size` leaves of a tree.

    Raises:
        TilesDamaged
    """
    return hashes.of(0, size) if size else EMPTY


def _part(leaves: int) -> int:
    """How many of them are in the left subtree: the greatest power of two that is less."""
    return 1 << (leaves - 1).bit_length() - 1
