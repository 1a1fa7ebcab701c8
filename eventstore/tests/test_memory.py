"""The event store in memory."""

import pytest

from dominie_eventstore import EventStore, MemoryEventStore
from dominie_eventstore.conformance import EventStoreConformance


class TestMemory(EventStoreConformance):
    @pytest.fixture
    def store(self) -> EventStore:
        return MemoryEventStore()
