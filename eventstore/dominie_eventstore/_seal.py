"""From drafts to stored bytes, and back.

One append is one message: the sealed events, parted by newlines (JSON on one line holds none). Each event's `prev`
is the SHA-256 of the stored bytes of the event before it in its stream.
"""

from collections.abc import Sequence
from hashlib import sha256

from pydantic import ValidationError

from dominie_contracts.envelope import Draft, Envelope, Recorded, pack_position
from dominie_contracts.headers import MAX_EVENT_BYTES
from dominie_eventstore._errors import CorruptEvent, EventTooLarge
from dominie_eventstore._port import MAX_DRAFTS

MAX_APPEND_BYTES = MAX_EVENT_BYTES - 512
"""The store's own headers fit into the rest."""


def digest(raw: bytes) -> str:
    """The SHA-256 of an event's stored bytes, in hex: its successor's `prev`."""
    return sha256(raw).hexdigest()


def seal(
    name: str, tenant: str, drafts: Sequence[Draft], *, version: int, prev: str
) -> tuple[list[tuple[Envelope, bytes]], str]:
    """Give drafts their places after `version`; the sealed events, and the last one's digest.

    Raises:
        EventTooLarge: They do not fit in one message.
        ValueError: They are not 1 to 64 events.
    """
    if not 0 < len(drafts) <= MAX_DRAFTS:
        raise ValueError(f"an append holds 1 to {MAX_DRAFTS} events, not {len(drafts)}")
    sealed = []
    size = len(drafts) - 1
    for place, draft in enumerate(drafts, version + 1):
        envelope = _place(draft, name, tenant, place, prev)
        raw = envelope.seal()
        prev = digest(raw)
        size += len(raw)
        sealed.append((envelope, raw))
    if size > MAX_APPEND_BYTES:
        raise EventTooLarge(size, MAX_APPEND_BYTES)
    return sealed, prev


def _place(draft: Draft, name: str, tenant: str, version: int, prev: str) -> Envelope:
    return Envelope(
        id=draft.id,
        source=draft.source,
        type=draft.type,
        time=draft.time,
        stream=name,
        version=version,
        tenant=tenant,
        actor=draft.actor,
        on_behalf_of=draft.on_behalf_of,
        correlation_id=draft.correlation_id,
        causation_id=draft.causation_id,
        traceparent=draft.traceparent,
        policy_version=draft.policy_version,
        prev=prev,
        data=draft.data,
    )


def record(sealed: Sequence[tuple[Envelope, bytes]], segment: int, sequence: int) -> tuple[Recorded, ...]:
    """The events of one append, now that their message has a sequence."""
    return tuple(
        Recorded(pack_position(segment, sequence, index), envelope, raw) for index, (envelope, raw) in enumerate(sealed)
    )


def unseal(raw: bytes, position: int, stream: str | None = None) -> Recorded:
    """Read one event's stored bytes.

    Raises:
        CorruptEvent: They are no event, or one of another stream.
    """
    try:
        envelope = Envelope.unseal(raw)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise CorruptEvent(position, stream=stream or "?", why=first["msg"]) from error
    if stream is not None and envelope.stream != stream:
        raise CorruptEvent(position, stream=stream, why=f"it says it is of stream {envelope.stream!r}")
    return Recorded(position, envelope, raw)


def unseal_message(data: bytes, segment: int, sequence: int, stream: str) -> list[Recorded]:
    """Read all events of one message.

    Raises:
        CorruptEvent: One of them is no event of that stream.
    """
    return [unseal(raw, pack_position(segment, sequence, index), stream) for index, raw in enumerate(data.split(b"\n"))]
