"""A log as RFC 6962 writes it down, for tests of who witnesses it."""

from collections.abc import Sequence
from dataclasses import dataclass

from dominie.cosignatures import Submission
from dominie.merkle import EMPTY, leaf_hash, node_hash
from dominie.notes import Checkpoint, Signer

NOW = 1_795_248_000
OURS = Signer("dominie/test", b"k" * 32)


@dataclass(frozen=True, slots=True)
class Log:
    """Leaves, and who signs for them."""

    leaves: Sequence[bytes]
    signer: Signer = OURS

    @classmethod
    def of(cls, size: int, word: str = "event", signer: Signer = OURS) -> "Log":
        return cls([f"{word} {number}".encode() for number in range(size)], signer)

    def note(self, size: int | None = None) -> str:
        leaves = self.leaves[:size]
        return self.signer.sign(Checkpoint(self.signer.name, len(leaves), root(leaves)).text)

    def body(self, old: int, size: int | None = None) -> bytes:
        leaves = self.leaves[:size]
        proof = tuple(subproof(old, leaves, True)) if 0 < old <= len(leaves) else ()
        return Submission(old, proof, self.note(size)).text.encode()


def root(leaves: Sequence[bytes]) -> bytes:
    """RFC 6962, 2.1."""
    if len(leaves) < 2:
        return leaf_hash(leaves[0]) if leaves else EMPTY
    k = 1 << (len(leaves) - 1).bit_length() - 1
    return node_hash(root(leaves[:k]), root(leaves[k:]))


def subproof(m: int, leaves: Sequence[bytes], whole: bool) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    n = len(leaves)
    if m == n:
        return [] if whole else [root(leaves)]
    k = 1 << (n - 1).bit_length() - 1
    if m <= k:
        return [*subproof(m, leaves[:k], whole), root(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), root(leaves[:k])]
