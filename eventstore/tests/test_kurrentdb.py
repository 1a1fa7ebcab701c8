"""The event store on a double of KurrentDB's protocol."""

from collections.abc import AsyncIterator

import pytest
from eventstore.tests.kurrentdb_double import Server

from dominie_eventstore import EventStore
from dominie_eventstore.conformance import EventStoreConformance
from dominie_eventstore.kurrentdb import KurrentDBEventStore


class TestKurrentDBDouble(EventStoreConformance):
    """It shows that our side is right about the protocol's definitions, and nothing about KurrentDB."""

    @pytest.fixture
    async def store(self) -> AsyncIterator[EventStore]:
        server = Server()
        await server.start()
        store = KurrentDBEventStore(server.url)
        yield store
        await store.aclose()
        await server.stop()
