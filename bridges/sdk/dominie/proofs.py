"""The check of what audit proves, with nothing but a log's verifier key. No network, no files."""

from dataclasses import dataclass

from pydantic import ValidationError

from dominie.merkle import HASH_BYTES, is_extended, is_included, leaf_hash
from dominie.notes import BadProof, Checkpoint, NotExtended, NotProven, VerifierKey, decode
from dominie_contracts.audit import InclusionProof, SignedCheckpoint


@dataclass(frozen=True, slots=True)
class Proven:
    """An event that is in the log."""

    raw: bytes
    """Its stored bytes."""
    index: int
    checkpoint: Checkpoint
    note: str
    """The checkpoint as it is signed."""


def check_inclusion(text: str | bytes, key: VerifierKey) -> Proven:
    """Check what `dominie audit prove` wrote.

    Raises:
        ProofProblem: It does not prove that the event is in that key's log; see `dominie.notes`.
    """
    try:
        bundle = InclusionProof.model_validate_json(text)
    except ValidationError as error:
        raise BadProof("that is no proof of `dominie audit prove`, or it was cut") from error
    checkpoint = Checkpoint.open(bundle.checkpoint, key)
    raw = decode(bundle.raw, "the event")
    if not is_included(leaf_hash(raw), bundle.index, checkpoint.size, _hashes(bundle.proof), checkpoint.root):
        raise NotProven(f"the proof does not lead from the event, as leaf {bundle.index}, to the checkpoint's root")
    return Proven(raw, bundle.index, checkpoint, bundle.checkpoint)


def check_extension(old: Checkpoint, answer: SignedCheckpoint, key: VerifierKey) -> Checkpoint:
    """Check that a log's current checkpoint extends an older one of the same log; returns the current one.

    Raises:
        ProofProblem: It does not, or is not signed with that key.
    """
    new = Checkpoint.open(answer.checkpoint, key)
    check_sizes(old, new)
    if not is_extended(old.size, new.size, _hashes(answer.proof), old.root, new.root):
        raise NotExtended(f"the log of {new.size} events does not begin with those {old.size}: its history was changed")
    return new


def check_sizes(old: Checkpoint, new: Checkpoint) -> None:
    """A log keeps its name, and only grows.

    Raises:
        NotExtended: Not so.
    """
    if old.origin != new.origin:
        raise NotExtended(f"the older checkpoint is of {old.origin!r}, the current one of {new.origin!r}")
    if old.size > new.size:
        raise NotExtended(f"the log has {new.size} events now, and had {old.size}: some are gone")


def _hashes(proof: tuple[str, ...]) -> list[bytes]:
    return [decode(each, "a hash of the proof", length=HASH_BYTES) for each in proof]
