"""A log to measure: the kit's broker, every append fsynced, and the event store as services have it."""

import itertools
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dominie_contracts.envelope import Draft
from dominie_contracts.subjects import StreamName
from dominie_eventstore import EventStore, JetStreamEventStore
from dominie_kit.bus import Inner
from dominie_kit.house.broker import EmbeddedBroker, provision
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.settings import KitSettings

DATA = json.dumps(
    {
        "command": "tool.invoke",
        "resource": "balance",
        "version": "1",
        "key": "8f14e45fceea167a5a36dedd4bea2543",
        "digest": "5d41402abc4b2a76b9719d911017c592ae3f1b2c",
        "arguments": {"account": "DE89 3704 0044 0532 0130 00"},
        "user": "u-ann",
    }
)
"""What an event says: about 200 bytes."""
_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class EventLog:
    """An event stream on a broker of its own."""

    broker: EmbeddedBroker

    async def provision(self) -> None:
        """Create the stream."""
        await provision(self.broker.url, self.broker.keys)

    @asynccontextmanager
    async def store(self, service: str = "tool") -> AsyncIterator[EventStore]:
        """The log on a service's connection: `tool` writes, `audit` reads everything."""
        inner = Inner(service, KitSettings(nats_url=self.broker.url, keys=self.broker.keys.path))
        await inner.open()
        try:
            yield JetStreamEventStore(inner.client)
        finally:
            await inner.close()

    async def stored(self) -> int:
        """How many events there are, counted by reading them."""
        async with self.store("audit") as store:
            return len([None async for _ in store.read_all()])


@contextmanager
def event_log() -> Iterator[EventLog]:
    """A log that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dominie-bench-") as folder:
        keys = KeyFolder(Path(folder) / "keys").create()
        with EmbeddedBroker(keys, Path(folder) / "broker") as broker:
            yield EventLog(broker)


def new_stream() -> StreamName:
    """A stream that nobody has written to."""
    return StreamName("acme", "tool", f"call-{next(_numbers)}")


def event() -> Draft:
    """An event as a service writes it."""
    return Draft(
        id=f"0af7651916cd43dd8448eb211c80319c-{next(_numbers)}",
        source="dominie/tool",
        type="tool.requested.v1",
        time=datetime.now(UTC),
        actor="a-desk",
        data=DATA,
        on_behalf_of="u-ann",
        correlation_id="run-4bf92f3577b34da6",
        causation_id="8f14e45fceea167a5a36dedd4bea2543",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        policy_version="9a0364b9e99bb480dd25e1f0284c8555",
    )
