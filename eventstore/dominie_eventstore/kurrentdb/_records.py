"""Between our events and KurrentDB's: the data are our stored bytes, as they are."""

from collections.abc import Sequence
from uuid import UUID

from kurrentdbclient import NewEvent, RecordedEvent

from dominie_contracts.envelope import Draft
from dominie_eventstore._seal import StoredEvent, digest
from dominie_eventstore.kurrentdb._names import own


def new_events(drafts: Sequence[Draft], sealed: Sequence[bytes]) -> list[NewEvent]:
    """Sealed events as the client takes them.

    The id is of the very bytes: the server takes an append again whose ids it has stored there, and only the same
    bytes are the same append.
    """
    return [
        NewEvent(type=draft.type, data=raw, id=UUID(digest(raw)[:32], version=5))
        for draft, raw in zip(drafts, sealed, strict=True)
    ]


def recorded(event: RecordedEvent) -> StoredEvent:
    """A stored event, by the position that it has in the whole database."""
    return StoredEvent(event.commit_position, event.data, own(event.stream_name))
