"""Signed notes (c2sp.org/signed-note) and the checkpoints in them (c2sp.org/tlog-checkpoint). Pure.

    dominie/5a1f…            the log's origin, which is its key's name too
    123                      how many events
    base64 of the root
    durability fsync         extension lines: what stood behind its appends then

    — dominie/5a1f… base64 of the key's id (4 bytes) and an Ed25519 signature

ProofProblem
├── BadKey        no verifier key, or one of another kind
├── BadProof      a file is cut, or no such thing at all
├── OtherLog      signed by another key, or by nobody
├── NotProven     it does not hold: what it says was changed
├── NotExtended   two checkpoints are not of one growing log
└── NotWitnessed  too few of the witnesses that one trusts have signed it
"""

import base64
import binascii
import re
from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from dominie.merkle import HASH_BYTES

ED25519 = 1
_SIGNED = "\u2014 "
_PRIVATE = "PRIVATE+KEY+"
_CONTROL = re.compile(r"[^\n -\U0010ffff]")
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_DURABILITY = "durability "


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


class NotWitnessed(ProofProblem):
    """Too few of the witnesses that one trusts have signed it."""

    title = "Not witnessed"


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """What a log's signatures are checked with: `name+id+base64(1, key)`."""

    KIND: ClassVar[int] = ED25519
    KIND_NAME: ClassVar[str] = "a log's"
    SHOWN_BY: ClassVar[str] = "dominie audit checkpoint --key"
    name: str
    key: bytes

    @property
    def id(self) -> bytes:
        """The four bytes that signatures name it by."""
        return sha256(self.name.encode() + b"\n" + self._typed).digest()[:4]

    @property
    def _typed(self) -> bytes:
        return bytes([self.KIND]) + self.key

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode(self._typed)}"

    def signed(self, signature: bytes) -> str:
        """The line below a note that holds a signature by this key."""
        return f"{_SIGNED}{self.name} {encode(self.id + signature)}\n"

    def check(self, text: str, signature: bytes) -> None:
        """Check a signature of a note's text.

        Raises:
            NotProven: It does not fit.
        """
        try:
            VerifyKey(self.key).verify(text.encode(), signature)
        except (BadSignatureError, ValueError) as error:
            raise NotProven(f"the signature of {self.name!r} does not fit: the checkpoint was changed") from error

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a verifier key.

        Raises:
            BadKey: It is none, or of another kind.
        """
        text = text.strip()
        if text.startswith(_PRIVATE):
            raise BadKey(f"that is the private key: keep it secret, and give the one that `{cls.SHOWN_BY}` prints")
        found = cls(*_parse_key(text, cls))
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
        return f"{_PRIVATE}{self.name}+{self.verifier.id.hex()}+{encode(bytes([ED25519]) + self.seed)}"

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
        found = cls(*_parse_key(text.strip().removeprefix(_PRIVATE), VerifierKey))
        if str(found) != text.strip():
            raise BadKey("the signing key does not fit its own id")
        return found

    def sign(self, text: str) -> str:
        """A text, which ends in a newline, as a signed note."""
        return f"{text}\n{self.verifier.signed(self.sign_bytes(text.encode()))}"

    def sign_bytes(self, data: bytes) -> bytes:
        """The bare signature."""
        return SigningKey(self.seed).sign(data).signature


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How long a log is, and the root over that many leaves; extension lines are signed with them."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    @classmethod
    def kept(cls, origin: str, size: int, root: bytes, *, durability: str) -> Self:
        """A checkpoint that says how its log is kept: `none`, `fsync`, or `quorum N` on N replicas."""
        return cls(origin, size, root, (f"{_DURABILITY}{durability}",))

    @property
    def text(self) -> str:
        """What is signed."""
        return "".join(f"{line}\n" for line in (self.origin, str(self.size), encode(self.root), *self.extensions))

    @property
    def durability(self) -> str | None:
        """How the log was kept when this was signed; None where it does not say."""
        found = (line.removeprefix(_DURABILITY) for line in self.extensions if line.startswith(_DURABILITY))
        return next(found, None)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note; lines after the first three are extensions.

        Raises:
            BadProof: It is no checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or not lines[0] or not is_size(lines[1]):
            raise BadProof("that is no checkpoint: it has no origin, size and root")
        root = decode(lines[2], "the checkpoint's root", length=HASH_BYTES)
        found = cls(lines[0], int(lines[1]), root, tuple(lines[3:-1]))
        if found.text != text:
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


@dataclass(frozen=True, slots=True)
class Signature:
    """A line below a note."""

    name: str
    id: bytes
    raw: bytes

    def is_by(self, key: VerifierKey) -> bool:
        """Whether it names a key; it may be wrong all the same."""
        return (self.name, self.id) == (key.name, key.id)


def parse_note(note: str) -> tuple[str, tuple[Signature, ...]]:
    """A signed note's text and its signatures, which nobody has checked yet.

    Raises:
        BadProof: It is no signed note.
    """
    text, parted, signatures = note.rpartition("\n\n")
    if not parted or not signatures.endswith("\n") or _CONTROL.search(note):
        raise BadProof("that is no signed note, or it was cut")
    return f"{text}\n", tuple(_parse_signature(line) for line in signatures[:-1].split("\n"))


def open_note(note: str, key: VerifierKey) -> str:
    """The text of a note that a key signed.

    Raises:
        BadProof: It is no signed note.
        OtherLog: The key did not sign it.
        NotProven: The signature does not fit the text.
    """
    text, signatures = parse_note(note)
    for signature in signatures:
        if signature.is_by(key):
            key.check(text, signature.raw)
            return text
    signers = ", ".join(repr(signature.name) for signature in signatures)
    raise OtherLog(f"signed by {signers} with another key than {str(key)!r}")


def is_size(text: str) -> bool:
    """Whether a text is a number of events, as it is written: below 2^63, with no zeros before it."""
    return bool(_SIZE.fullmatch(text)) and int(text) < 1 << 63


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


def _parse_signature(line: str) -> Signature:
    name, _, encoded = line.removeprefix(_SIGNED).partition(" ")
    if not line.startswith(_SIGNED) or not name:
        raise BadProof(f"a note's signature does not look like {line[:40]!r}")
    raw = decode(encoded, "a signature")
    return Signature(name, raw[:4], raw[4:])


def _parse_key(text: str, kind: type[VerifierKey]) -> tuple[str, bytes]:
    """Name and key of `name+id+base64(kind, key)`; base64 has plus signs of its own."""
    name, _, rest = text.partition("+")
    _, _, encoded = rest.partition("+")
    try:
        typed = decode(encoded, "the key")
    except BadProof:
        typed = b""
    if not name or any(char.isspace() for char in name) or len(typed) != 33:
        raise BadKey(f"a verifier key is `name+id+key`, as `{kind.SHOWN_BY}` prints it")
    if typed[0] != kind.KIND:
        raise BadKey(f"the key of {name!r} is of kind {typed[0]}, not {kind.KIND_NAME} ({kind.KIND})")
    return name, typed[1:]


def encode(raw: bytes) -> str:
    """Write base64 (RFC 4648)."""
    return base64.b64encode(raw).decode()
