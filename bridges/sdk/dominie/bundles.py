"""Bundles: events in one file, with all that is needed to check them but the log's verifier key. No network, no files.

JSON lines, as `dominie_contracts.audit.BundleHead` says. A line can be written and checked as it comes, whatever the
number of events; and there is one way to read it, which an archive with a directory and metadata of its own has not.

ProofProblem
└── BadBundle       of a line of the file
    ├── Garbled     a line is none of a bundle's
    ├── CutShort    the file ends before its end
    ├── BadEvent    an event is not what the log has, or not in its place
    ├── EndDiffers  the last line does not fit those before it: some were changed, dropped or added
    └── Trailing    something comes after the last line
"""

import base64
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TypeVar

from pydantic import ValidationError

from dominie.cosignatures import WitnessKey, check_quorum
from dominie.merkle import HASH_BYTES, leaf_hash
from dominie.merkle_path import Known
from dominie.notes import Checkpoint, NotProven, ProofProblem, VerifierKey, decode
from dominie_contracts import Envelope, Message
from dominie_contracts.audit import BundleEnd, BundleEvent, BundleHead, Leaf
from dominie_contracts.envelope import GENESIS

MAX_LINE_BYTES = 4 * 2**20
"""An event has 512 KiB at most; as a JSON string twice that, and its proof beside it."""
M = TypeVar("M", bound=Message)


class BadBundle(ProofProblem):
    """A bundle does not hold; from which line on, and which event of the log that should be."""

    def __init__(self, detail: str, *, line: int, index: int | None = None, position: int | None = None) -> None:
        super().__init__(detail)
        self.line = line
        self.index = index
        self.position = position


class Garbled(BadBundle):
    """A line is none of a bundle's."""

    title = "Unreadable bundle"


class CutShort(BadBundle):
    """The file ends before its end."""

    title = "Cut short"


class BadEvent(BadBundle):
    """An event is not what the log has, or not in its place."""


class EndDiffers(BadBundle):
    """The last line does not fit those before it: some were changed, dropped or added."""

    title = "Changed"


class Trailing(BadBundle):
    """Something comes after the last line."""

    title = "Trailing bytes"


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle that holds."""

    head: BundleHead
    checkpoint: Checkpoint
    end: BundleEnd


def bundle(head: BundleHead, leaves: Iterable[Leaf]) -> Iterator[bytes]:
    """The lines of a bundle; the leaves, in order, come with whole proofs to the head's checkpoint.

    Raises:
        ProofProblem: It would not hold.
    """
    checkpoint = Checkpoint.open(head.checkpoint, VerifierKey.parse(head.key))
    known, counted = Known(checkpoint.size, checkpoint.root), _Counted()
    yield counted.line(head)
    for number, leaf in enumerate(leaves, _FIRST):
        raw = decode(leaf.raw, "the event")
        proof = known.part(leaf.index, [decode(each, "a hash", length=HASH_BYTES) for each in leaf.proof])
        if not known.proves(leaf.index, leaf_hash(raw), proof):
            raise NotProven(f"the log's own proof of the event at position {leaf.position} does not hold")
        hashes = tuple(base64.b64encode(each).decode() for each in proof)
        event = BundleEvent(position=leaf.position, index=leaf.index, event=raw.decode(), proof=hashes)
        counted.take(event, raw, number)
        yield counted.line(event)
    yield _written(counted.end)


def verify_bundle(
    lines: Iterable[bytes], key: VerifierKey, *, witnesses: Sequence[WitnessKey] = (), quorum: int = 0
) -> Verified:
    """Check a bundle, line by line; a line has its newline, and at most `MAX_LINE_BYTES`.

    Args:
        lines: Of the file.
        key: The log's.
        witnesses: Others whose signatures under its checkpoint count.
        quorum: So many of them have to be there.

    Raises:
        ProofProblem: It does not hold, or is of another key's log; see above, and `dominie.notes`.
    """
    counted, numbered = _Counted(), enumerate(lines, 1)
    head = _read(BundleHead, next(numbered, (1, b"")))
    counted.line(head)
    checkpoint = Checkpoint.open(head.checkpoint, key)
    check_quorum(head.checkpoint, witnesses, quorum)
    known, before = Known(checkpoint.size, checkpoint.root), (-1, 0)
    for number, text in numbered:
        if text.startswith(_END):
            _check_end(text, counted.end, number)
            for after, _ in numbered:
                raise Trailing("the file goes on after its end", line=after)
            return Verified(head, checkpoint, counted.end)
        event = _read(BundleEvent, (number, text))
        raw = event.event.encode()
        if event.index <= before[0] or event.position <= before[1]:
            raise _bad(event, number, f"the event before it, of index {before[0]} and position {before[1]}, is later")
        before = (event.index, event.position)
        _check_proof(event, known, raw, number)
        counted.take(event, raw, number)
        counted.line(event)
    raise CutShort(f"the file ends after {counted.events} events, with no end of its own", line=counted.events + _FIRST)


class _Counted:
    """What the end of a bundle says of the lines before it."""

    def __init__(self) -> None:
        self.events = 0
        self._bytes = sha256()
        self._streams: dict[str, tuple[int, bytes, bool]] = {}
        """By name: the last version, the digest of its bytes, and whether none is missing up to it."""

    def line(self, message: Message) -> bytes:
        """Count a line; its bytes."""
        text = _written(message)
        self._bytes.update(text)
        return text

    def take(self, event: BundleEvent, raw: bytes, number: int) -> None:
        """Count an event.

        Raises:
            BadEvent: It is none, or does not follow the one before it in its stream.
        """
        try:
            envelope = Envelope.unseal(raw)
        except ValidationError as error:
            raise _bad(event, number, "its bytes are no event") from error
        version, digest, whole = self._streams.get(envelope.stream, (0, bytes.fromhex(GENESIS), True))
        if envelope.version <= version:
            raise _bad(event, number, f"version {envelope.version} of its stream comes after version {version}")
        follows = envelope.version == version + 1
        if follows and envelope.prev != digest.hex():
            raise _bad(event, number, "its `prev` is not the hash of the event before it in its stream")
        self._streams[envelope.stream] = (envelope.version, sha256(raw).digest(), whole and follows)
        self.events += 1

    @property
    def end(self) -> BundleEnd:
        """The last line."""
        whole = sum(whole for _, _, whole in self._streams.values())
        digest = self._bytes.hexdigest()
        return BundleEnd(events=self.events, streams=len(self._streams), whole=whole, sha256=digest)


_FIRST = 2
"""The line of the first event."""
_END = b'{"events":'


def _written(message: Message) -> bytes:
    return message.model_dump_json(exclude_none=True).encode() + b"\n"


def _read(kind: type[M], numbered: tuple[int, bytes]) -> M:
    number, text = numbered
    what = "its head" if kind is BundleHead else "an event"
    if not text.endswith(b"\n"):
        if len(text) < MAX_LINE_BYTES:
            raise CutShort(f"the file ends in the middle of line {number}, or is empty", line=number)
        raise Garbled(f"line {number} is longer than any of a bundle", line=number)
    try:
        found = kind.model_validate_json(text)
    except ValidationError as error:
        raise Garbled(f"line {number} is not {what} of a bundle of this version", line=number) from error
    if _written(found) != text:
        raise Garbled(f"line {number} is not written as a bundle's lines are", line=number)
    return found


def _check_proof(event: BundleEvent, known: Known, raw: bytes, number: int) -> None:
    try:
        proof = [decode(each, "a hash of its proof", length=HASH_BYTES) for each in event.proof]
    except ProofProblem as error:
        raise _bad(event, number, error.detail) from error
    if not known.proves(event.index, leaf_hash(raw), proof):
        known_hash = (
            "the checkpoint's root" if number == _FIRST else "what the checkpoint and the events before it prove"
        )
        raise _bad(event, number, f"its proof does not lead from it, as leaf {event.index}, to {known_hash}")


def _check_end(text: bytes, end: BundleEnd, number: int) -> None:
    if text == _written(end):
        return
    if not text.endswith(b"\n"):
        raise CutShort("the file ends in the middle of its last line", line=number)
    why = f"the last line does not fit the {end.events} events before it: lines were changed, dropped or added"
    raise EndDiffers(why, line=number)


def _bad(event: BundleEvent, line: int, why: str) -> BadEvent:
    return BadEvent(
        f"event {line - _FIRST + 1} of the bundle, at position {event.position}: {why}",
        line=line,
        index=event.index,
        position=event.position,
    )
