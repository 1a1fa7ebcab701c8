"""Proofs of many leaves of one tree, in order, each hash once. Pure.

A proof of one leaf makes the hashes beside its path known too. So the next leaf's proof ends at the first subtree whose
hash is known, and says no more than what is new.
"""

from collections.abc import Sequence

from dominie.merkle import is_included


class Known:
    """Subtrees of a tree whose hashes are known: at first all of it, then what is right of the leaves that were proven.

    Each is its first leaf, the one after its last, and its hash; the leftmost comes last.
    """

    def __init__(self, size: int, root: bytes) -> None:
        self._size = size
        self._right = [(0, size, root)]

    def part(self, index: int, proof: Sequence[bytes]) -> Sequence[bytes]:
        """What is new in a leaf's proof (RFC 6962); the leaf is beyond those that were proven."""
        first, end, _ = next(each for each in reversed(self._right) if index < each[1])
        return proof[: len(_turns(index - first, end - first))]

    def proves(self, index: int, leaf: bytes, part: Sequence[bytes]) -> bool:
        """Whether the rest of a proof leads from a leaf's hash to a known one; if so, more is known."""
        while self._right and self._right[-1][1] <= index:
            self._right.pop()
        if not self._right or not self._right[-1][0] <= index:
            return False
        first, end, root = self._right[-1]
        if not is_included(leaf, index - first, end - first, part, root):
            return False
        self._right.pop()
        for middle, other in zip(_turns(index - first, end - first), reversed(part), strict=True):
            if index - first < middle:
                self._right.append((first + middle, end, other))
                end = first + middle
            else:
                first += middle
        return True


def _turns(index: int, size: int) -> list[int]:
    """How many leaves are in the left subtree, at each node from a tree's root down to a leaf."""
    found = []
    while size > 1:
        left = 1 << (size - 1).bit_length() - 1
        found.append(left)
        index, size = (index, left) if index < left else (index - left, size - left)
    return found
