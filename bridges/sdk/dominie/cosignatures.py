"""What witnesses sign (c2sp.org/tlog-cosignature), and how they are asked to (c2sp.org/tlog-witness). Pure.

A witness keeps the last checkpoint of each log that it signed, and signs none that does not extend it: two people who
see checkpoints that one witness signed see one log. Its signature is a line below the log's own, over the time too.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from dominie.merkle import HASH_BYTES
from dominie.notes import (
    BadProof,
    NotWitnessed,
    Signer,
    VerifierKey,
    decode,
    encode,
    is_size,
    parse_note,
)

COSIGNATURE = 4
MAX_PROOF = 63
SIZE_TYPE = "text/x.tlog.size"
"""The media type of a refusal that names the size which the witness has."""
_TIME_BYTES = 8


@dataclass(frozen=True, slots=True)
class WitnessKey(VerifierKey):
    """What a witness's cosignatures are checked with: `name+id+base64(4, key)`."""

    KIND: ClassVar[int] = COSIGNATURE
    KIND_NAME: ClassVar[str] = "a witness's"
    SHOWN_BY: ClassVar[str] = "dominie witness key"

    def check(self, text: str, signature: bytes) -> None:
        """Check a cosignature: the time in 8 bytes, and an Ed25519 signature of it and a checkpoint's text.

        Raises:
            NotProven: It does not fit.
        """
        time = int.from_bytes(signature[:_TIME_BYTES])
        VerifierKey.check(self, _timed(text, time), signature[_TIME_BYTES:])


@dataclass(frozen=True, slots=True)
class Cosigner:
    """A witness's private key, kept as any other."""

    signer: Signer

    @property
    def key(self) -> WitnessKey:
        """The key that everybody may know."""
        return WitnessKey(self.signer.name, self.signer.verifier.key)

    def cosign(self, checkpoint: str, time: int) -> str:
        """The line below a checkpoint's text that says: seen at this time (seconds since 1970), and consistent."""
        signature = self.signer.sign_bytes(_timed(checkpoint, time).encode())
        return self.key.signed(time.to_bytes(_TIME_BYTES) + signature)


@dataclass(frozen=True, slots=True)
class Submission:
    """A checkpoint for a witness, with the proof that it extends the one of `old` events that the witness has."""

    old: int
    proof: tuple[bytes, ...]
    note: str

    @property
    def text(self) -> str:
        """The body of `POST /add-checkpoint`."""
        return "".join((f"old {self.old}\n", *(f"{encode(each)}\n" for each in self.proof), "\n", self.note))

    @classmethod
    def parse(cls, body: bytes) -> Self:
        """Read such a body; neither the checkpoint's signature nor the proof is checked here.

        Raises:
            BadProof: It is none.
        """
        try:
            head, parted, note = body.decode().partition("\n\n")
        except UnicodeDecodeError as error:
            raise BadProof("that is not UTF-8") from error
        first, *lines = head.split("\n")
        old = first.removeprefix("old ")
        if not parted or not first.startswith("old ") or not is_size(old):
            raise BadProof("a request is `old SIZE`, lines of a consistency proof, an empty line, and a checkpoint")
        if len(lines) > MAX_PROOF:
            raise BadProof(f"the proof has {len(lines)} hashes, and never needs more than {MAX_PROOF}")
        proof = tuple(decode(line, "a hash of the proof", length=HASH_BYTES) for line in lines)
        return cls(int(old), proof, note)


def cosigned_by(note: str, witnesses: Iterable[WitnessKey]) -> tuple[WitnessKey, ...]:
    """Those of the witnesses who signed a checkpoint.

    Raises:
        BadProof: It is no signed note.
        NotProven: It has a wrong signature of one of them.
    """
    text, signatures = parse_note(note)
    found = []
    for key in dict.fromkeys(witnesses):
        given = [signature for signature in signatures if signature.is_by(key)]
        for signature in given:
            key.check(text, signature.raw)
        if given:
            found.append(key)
    return tuple(found)


def check_quorum(note: str, witnesses: Sequence[WitnessKey], quorum: int) -> tuple[WitnessKey, ...]:
    """Check that so many of the witnesses signed a checkpoint; returns those who did.

    Raises:
        NotWitnessed: They are fewer.
        BadProof, NotProven
    """
    found = cosigned_by(note, witnesses)
    if len(found) < quorum:
        names = ", ".join(repr(key.name) for key in found) or "none"
        raise NotWitnessed(f"{quorum} of these {len(set(witnesses))} witnesses should have signed it, and {names} did")
    return found


def _timed(text: str, time: int) -> str:
    return f"cosignature/v1\ntime {time}\n{text}"
