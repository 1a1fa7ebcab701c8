"""The event store on a real JetStream: in one segment, and in many."""

from collections.abc import Sequence

import pytest
from nats.aio.client import Client

from dominie_contracts import Draft, StreamName
from dominie_eventstore import Appended, EventStore, JetStreamEventStore, rolling
from dominie_eventstore.conformance import EventStoreConformance


class Rolls(JetStreamEventStore):
    """A store whose log goes on in the next segment after every second append."""

    def __init__(self, nc: Client) -> None:
        super().__init__(nc)
        self._nc = nc
        self._appends = 0

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        found = await super().append(stream, drafts, expected_version=expected_version, timeout_s=timeout_s)
        self._appends += 1
        if self._appends % 2 == 0:
            async with rolling(self._nc) as roller:
                await roller.roll()
        return found


class TestJetStream(EventStoreConformance):
    @pytest.fixture
    def store(self, nc: Client) -> EventStore:
        return JetStreamEventStore(nc)


class TestSegments(EventStoreConformance):
    @pytest.fixture
    def store(self, nc: Client) -> EventStore:
        return Rolls(nc)
