"""The event store of Dominie: its port, its backends, projections."""

from dominie_eventstore._errors import (
    CorruptEvent,
    EventStoreError,
    EventTooLarge,
    StoreUnavailable,
    WrongExpectedVersion,
)
from dominie_eventstore._jetstream import JetStreamEventStore
from dominie_eventstore._memory import MemoryEventStore
from dominie_eventstore._port import Appended, EventStore, Subscription
from dominie_eventstore._provision import provision
from dominie_eventstore._rights import publish_subjects

__all__ = [
    "Appended",
    "CorruptEvent",
    "EventStore",
    "EventStoreError",
    "EventTooLarge",
    "JetStreamEventStore",
    "MemoryEventStore",
    "StoreUnavailable",
    "Subscription",
    "WrongExpectedVersion",
    "provision",
    "publish_subjects",
]
