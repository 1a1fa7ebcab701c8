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
from dominie_eventstore._port import Appended, Durability, EventStore, Subscription
from dominie_eventstore._projections import Projection, Projector
from dominie_eventstore._provision import provision
from dominie_eventstore._rights import publish_subjects
from dominie_eventstore._seal import unseal
from dominie_eventstore._sql import SqlProjection
from dominie_eventstore._verify import ChainReport, verify_chain

__all__ = [
    "Appended",
    "ChainReport",
    "CorruptEvent",
    "Durability",
    "EventStore",
    "EventStoreError",
    "EventTooLarge",
    "JetStreamEventStore",
    "MemoryEventStore",
    "Projection",
    "Projector",
    "SqlProjection",
    "StoreUnavailable",
    "Subscription",
    "WrongExpectedVersion",
    "provision",
    "publish_subjects",
    "unseal",
    "verify_chain",
]
