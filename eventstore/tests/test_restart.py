"""The broker is killed, and comes back: nothing lost, nothing twice, everything in order."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client

from dominie_contracts.envelope import Recorded
from dominie_eventstore import InMemory, JetStreamEventStore, Projector
from dominie_eventstore.conformance import draft, first_of, stream

if TYPE_CHECKING:
    from eventstore.tests.conftest import Broker

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
Clients = Callable[..., Awaitable[Client]]
RESUME_S = 3.0


async def write(store: JetStreamEventStore, id: str, count: int) -> None:
    for version in range(count):
        await store.append(stream(id), [draft(f"{id}.{version}")], expected_version=version, timeout_s=20)


async def test_a_subscription_survives_a_killed_broker(broker: "Broker", nc: Client, clients: Clients) -> None:
    writer, reader = JetStreamEventStore(nc), JetStreamEventStore(await clients())
    await write(writer, "before", 50)
    seen: list[Recorded] = []

    async with asyncio.timeout(60), aclosing(reader.subscribe("test")) as following:
        async for event in following:
            seen.append(event)
            if len(seen) == 50:
                broker.kill()
                broker.start()
                back = time.monotonic()
                await write(writer, "after", 1)
            elif len(seen) == 51:
                assert time.monotonic() - back <= RESUME_S
                await write(writer, "later", 50)
            elif len(seen) == 101:
                break

    assert seen == [event async for event in writer.read_all()]


@pytest.mark.parametrize("rounds", [3])
async def test_appends_and_a_reader_over_restarts(broker: "Broker", nc: Client, clients: Clients, rounds: int) -> None:
    """Writers write on while the broker is killed again and again: each append is stored once."""
    reader = JetStreamEventStore(await clients())
    writers = 40  # enough of them to go out in batches
    each = 10

    async def kill_it() -> None:
        for number in range(1, rounds + 1):
            await _take(reader, number * writers * each // (rounds + 1))
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)

    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        following = group.create_task(_take(reader, writers * each))
        group.create_task(kill_it())
        for number in range(writers):
            group.create_task(write(JetStreamEventStore(nc), str(number), each))

    seen = following.result()
    stored = [event async for event in reader.read_all()]
    assert seen == stored
    assert sorted(str(event.envelope.data["text"]) for event in stored) == sorted(
        f"{number}.{version}" for number in range(writers) for version in range(each)
    )


async def _take(store: JetStreamEventStore, count: int) -> list[Recorded]:
    events: list[Recorded] = []
    async with aclosing(store.subscribe("test")) as following:
        async for event in following:
            events.append(event)
            if len(events) == count:
                break
    return events


async def test_a_silent_consumer_is_replaced(nc: Client, clients: Clients) -> None:
    """Somebody deletes the consumer: the broker says nothing, the heartbeats stop."""
    store = JetStreamEventStore(nc)
    await write(store, "1", 3)
    seen: list[Recorded] = []

    async with asyncio.timeout(20), aclosing(store.subscribe("test")) as following:
        async for event in following:
            seen.append(event)
            if len(seen) == 3:
                async for name in _consumers(nc):
                    await nc.request(f"$JS.API.CONSUMER.DELETE.EVENTS_0.{name}", b"", timeout=30)
                await write(store, "2", 2)
            elif len(seen) == 5:
                break

    assert seen == [event async for event in store.read_all()]


async def test_nothing_of_a_reader_is_left(nc: Client) -> None:
    store = JetStreamEventStore(nc)
    await write(store, "1", 3)
    subscriptions = len(nc._subs)

    await first_of(store, 2)
    await store.read(stream("1"))
    [_ async for _ in store.read_all()]

    assert len(nc._subs) == subscriptions
    async with asyncio.timeout(20):
        while [name async for name in _consumers(nc)]:
            await nc.flush()


async def _consumers(nc: Client) -> AsyncIterator[str]:
    for info in await nc.jsm().consumers_info("EVENTS_0"):
        yield info.name


class Seen(InMemory):
    """A projection that keeps what it saw."""

    def __init__(self) -> None:
        self.position = 0
        self.events: list[Recorded] = []

    def apply(self, event: Recorded) -> None:
        self.events.append(event)
        self.position = event.position


async def test_waiting_for_a_projection_over_a_restart(broker: "Broker", nc: Client, clients: Clients) -> None:
    store = JetStreamEventStore(nc)
    seen = Seen()
    projector = Projector(JetStreamEventStore(await clients()), seen, name="test", category="tool")
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        running = group.create_task(projector.run())
        await projector.caught_up.wait()
        broker.kill()
        broker.start()
        appended = await store.append(stream(), [draft()], expected_version=0, timeout_s=20)
        other = await store.append(stream(category="model"), [draft()], expected_version=0, timeout_s=20)
        await projector.wait_for(other.position, RESUME_S)
        assert seen.events == list(appended.recorded)
        running.cancel()
