"""The event store on a real JetStream."""

import pytest
from nats.aio.client import Client

from dominie_eventstore import EventStore, JetStreamEventStore
from dominie_eventstore.conformance import EventStoreConformance


class TestJetStream(EventStoreConformance):
    @pytest.fixture
    def store(self, nc: Client) -> EventStore:
        return JetStreamEventStore(nc)
