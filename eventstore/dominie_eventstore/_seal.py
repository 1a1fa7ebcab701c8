"""From drafts to stored bytes, and back.

One append is one message: the sealed events, parted by newlines (JSON on one line holds none). Each event's `prev`
is the SHA-256 of the stored bytes of the event before it in its stream.
"""

from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256

from pydantic import ValidationError

from dominie_contracts.envelope import Draft, Envelope, Recorded, pack_position, type_of
from dominie_contracts.headers import MAX_EVENT_BYTES
from dominie_eventstore._errors import CorruptEvent, EventTooLarge
from dominie_eventstore._port import MAX_DRAFTS

MAX_APPEND_BYTES = MAX_EVENT_BYTES - 512
"""The store's own headers fit into the rest."""


def digest(raw: bytes) -> str:
    """The SHA-256 of an event's stored bytes, in hex: its successor's `prev`."""
    return sha256(raw).hexdigest()


class StoredEvent(Recorded):
    """An event as a store hands it out; bytes that are no event of its stream are told apart when they are read."""

    __slots__ = ("_stream",)

    def __init__(self, position: int, raw: bytes, stream: str | None) -> None:
        self.position = position  # not through `super()`: a replay makes very many of them
        self.raw = raw
        self._envelope = None
        self._stream = stream

    @property
    def stream(self) -> str:
        """The name of its stream, as the store says it."""
        return self.envelope.stream if self._stream is None else self._stream

    def _unseal(self) -> Envelope:
        try:
            envelope = Envelope.unseal(self.raw)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            raise CorruptEvent(self.position, stream=self._stream or "?", why=first["msg"]) from error
        if self._stream is not None and envelope.stream != self._stream:
            why = f"it says it is of stream {envelope.stream!r}"
            raise CorruptEvent(self.position, stream=self._stream, why=why)
        return envelope


def seal(name: str, tenant: str, drafts: Sequence[Draft], *, version: int, prev: str) -> tuple[list[bytes], str]:
    """Give drafts their places after `version`; the sealed events, and the last one's digest.

    Raises:
        EventTooLarge: They do not fit in one message.
        ValueError: They are not 1 to 64 events, or one of them is not JSON on one line.
    """
    if not 0 < len(drafts) <= MAX_DRAFTS:
        raise ValueError(f"an append holds 1 to {MAX_DRAFTS} events, not {len(drafts)}")
    sealed = []
    size = len(drafts) - 1
    for place, draft in enumerate(drafts, version + 1):
        raw = draft.seal(name, tenant, version=place, prev=prev)
        prev = digest(raw)
        size += len(raw)
        sealed.append(raw)
    if size > MAX_APPEND_BYTES:
        raise EventTooLarge(size, MAX_APPEND_BYTES)
    return sealed, prev


def record(
    sealed: Sequence[bytes], segment: int, sequence: int, stream: str, *, after: int = 0, skip: Collection[str] = ()
) -> tuple[Recorded, ...]:
    """The events of one message, at the sequence that it has, beyond a position, and but for those of some types."""
    placed: Iterable[tuple[int, bytes]] = enumerate(sealed, pack_position(segment, sequence, 0))
    if skip:
        placed = ((position, raw) for position, raw in placed if type_of(raw) not in skip)
    return tuple([StoredEvent(position, raw, stream) for position, raw in placed if position > after])


def unseal(raw: bytes, position: int, stream: str | None = None) -> Recorded:
    """Read one event's stored bytes.

    Raises:
        CorruptEvent: They are no event, or one of another stream.
    """
    return StoredEvent(position, raw, stream).checked()
