"""The event store of Dominie: its port, its backends, projections."""

from dominie_eventstore._build import Build
from dominie_eventstore._errors import (
    CorruptEvent,
    EventStoreError,
    EventTooLarge,
    StoreUnavailable,
    WrongExpectedVersion,
)
from dominie_eventstore._folds import Folds
from dominie_eventstore._jetstream import JetStreamEventStore
from dominie_eventstore._memory import MemoryEventStore
from dominie_eventstore._port import Appended, Durability, EventStore, Subscription
from dominie_eventstore._projections import InMemory, Projection, Stored
from dominie_eventstore._projector import Projector
from dominie_eventstore._provision import provision
from dominie_eventstore._rights import publish_subjects
from dominie_eventstore._rolling import Roller, SegmentState, rolling
from dominie_eventstore._seal import unseal
from dominie_eventstore._segments import Segments
from dominie_eventstore._sql import SqlProjection
from dominie_eventstore._verify import ChainReport, verify_chain

__all__ = [
    "Appended",
    "Build",
    "ChainReport",
    "CorruptEvent",
    "Durability",
    "EventStore",
    "EventStoreError",
    "EventTooLarge",
    "Folds",
    "InMemory",
    "JetStreamEventStore",
    "MemoryEventStore",
    "Projection",
    "Projector",
    "Roller",
    "SegmentState",
    "Segments",
    "SqlProjection",
    "StoreUnavailable",
    "Stored",
    "Subscription",
    "WrongExpectedVersion",
    "provision",
    "publish_subjects",
    "rolling",
    "unseal",
    "verify_chain",
]
