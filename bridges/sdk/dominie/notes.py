"""Signed notes (c2sp.org/signed-note) and the checkpoints in them (c2sp.org/tlog-checkpoint). Pure.

    dominie/5a1f…            the log's origin, which is its key's name too
    123                      how many events
    base64 of the root

    — dominie/5a1f… base64 of the key's id (4 bytes) and an Ed25519 signature

ProofProblem
├── BadKey        no verifier key, or one of another kind
├── BadProof      a file is cut, or no such thing at all
├── OtherLog      signed by another key, or by nobody
├── NotProven     it does not hold: what it says was changed
└── NotExtended   two checkpoints are not of one growing log
"""

import base64
import binascii
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from dominie.merkle import HASH_BYTES

ED25519 = 1
_SIGNED = "\u2014 "
_PRIVATE = "PRIVATE+KEY+"


class ProofProblem(Exception):
    """Something does not prove what it should."""

    title: ClassVar[str] = "Not proven"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadKey(ProofProblem):
    """No verifier key, or one of another kind."""

    title = "Wrong key"


class BadProof(ProofProblem):
    """A file is cut, or no such thing at all."""

    title = "Unreadable proof"


class OtherLog(ProofProblem):
    """Signed by another key, or by nobody."""

    title = "Another log"


class NotProven(ProofProblem):
    """It does not hold: what it says was changed."""


class NotExtended(ProofProblem):
    """Two checkpoints are not of one growing log."""

    title = "Not the same log"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What a log's signatures are checked with: `name+id+base64(1, key)`."""

    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that signatures name it by."""
        return sha256(self.name.encode() + b"\n" + self._typed).digest()[:4]

    @property
    def _typed(self) -> bytes:
        return bytes([ED25519]) + self.key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{_b64(self._typed)}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key.

        Raises:
            BadKey: It is none, or not an Ed25519 one.
        """
        text = text.strip()
        if text.startswith(_PRIVATE):
            raise BadKey("that is the private key: keep it secret, and give the one from `vkey`")
        name, key = _parse_key(text)
        found = cls(name, key)
        if str(found) != text:
            raise BadKey(f"the verifier key {text!r} does not fit its own id: copy it whole")
        return found


@dataclass(frozen=True, slots=True)
class Signer:
    """A private key in the form that golang.org/x/mod/sumdb/note reads: `PRIVATE+KEY+name+id+base64(1, seed)`."""

    name: str
    seed: bytes

    @property
    def verifier(self) -> VerifierKey:
        """The key that everybody may know."""
        return VerifierKey(self.name, bytes(SigningKey(self.seed).verify_key))

    def __str__(self) -> str:
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{_b64(bytes([ED25519]) + self.seed)}"

    def __repr__(self) -> str:
        return f"Signer({self.name!r})"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a private key.

        Raises:
            BadKey: It is none.
        """
        if not text.startswith(_PRIVATE):
            raise BadKey(f"a signing key begins with {_PRIVATE!r}")
        found = cls(*_parse_key(text.strip().removeprefix(_PRIVATE)))
        if str(found) != text.strip():
            raise BadKey("the signing key does not fit its own id")
        return found

    def sign(self, text: str) -> str:
        """A text, which ends in a newline, as a signed note."""
        signature = SigningKey(self.seed).sign(text.encode()).signature
        return f"{text}\n{_SIGNED}{self.name} {_b64(self.verifier.id + signature)}\n"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How long a log is, and the root over that many leaves."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_b64(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note; lines after the first three are extensions.

        Raises:
            BadProof: It is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not (lines[1].isascii() and lines[1].isdecimal()):
            raise BadProof("that is no checkpoint: it has no origin, size and root")
        found = cls(lines[0], int(lines[1]), decode(lines[2], "the checkpoint's root", length=HASH_BYTES))
        if not text.startswith(found.text):
            raise BadProof("that is no checkpoint: its size or root is written in another way")
        return found

    @classmethod
    def open(cls, note: str, key: VerifierKey) -> Self:
        """A checkpoint whose signature by a log's own key holds.

        Raises:
            BadProof, OtherLog, NotProven
        """
        found = cls.parse(open_note(note, key))
        if found.origin != key.name:
            raise OtherLog(f"the checkpoint is of {found.origin!r}, not of {key.name!r}")
        return found


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that a key signed.

    Raises:
        BadProof: It is no signed note.
        OtherLog: The key did not sign it.
        NotProven: The signature does not fit the text.
    """
    text, parted, signatures = note.rpartition("\n\n")
    if not parted or not signatures.endswith("\n"):
        raise BadProof("that is no signed note, or it was cut")
    text += "\n"
    signers = []
    for line in signatures[:-1].split("\n"):
        name, _, signature = line.removeprefix(_SIGNED).partition(" ")
        if not line.startswith(_SIGNED) or not name:
            raise BadProof(f"a note's signature does not look like {line[:40]!r}")
        raw = decode(signature, "a signature")
        if name == key.name and raw[:4] == key.id:
            _check_signature(text, raw[4:], key)
            return text
        signers.append(name)
    raise OtherLog(f"signed by {', '.join(map(repr, signers)) or 'nobody'} with another key than {str(key)!r}")


def decode(text: str, what: str, *, length: int | None = None) -> bytes:
    """Read base64 (RFC 4648).

    Raises:
        BadProof: It is none, or not that long.
    """
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise BadProof(f"{what} is no base64: the file was cut or changed") from error
    if length is not None and len(found) != length:
        raise BadProof(f"{what} has {len(found)} bytes, not {length}")
    return found


def _check_signature(text: str, signature: bytes, key: VerifierKey) -> None:
    try:
        VerifyKey(key.key).verify(text.encode(), signature)
    except (BadSignatureError, ValueError) as error:
        raise NotProven(f"the signature of {key.name!r} does not fit: the checkpoint was changed") from error


def _parse_key(text: str) -> tuple[str, bytes]:
    """Name and key of `name+id+base64(1, key)`; base64 has plus signs of its own."""
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    try:
        typed = decode(encoded, "the key")
    except BadProof:
        typed = b""
    if not name or any(char.isspace() for char in name) or len(typed) != 33:
        raise BadKey("a verifier key is `name+id+key`, as `dominie audit checkpoint --key` prints it")
    if typed[0] != ED25519:
        raise BadKey(f"the key of {name!r} is of kind {typed[0]}, not Ed25519 ({ED25519})")
    return name, typed[1:]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
