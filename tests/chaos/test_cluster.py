"""Three nodes, and the one that leads is killed: writers and readers go on, nothing is lost, nothing is there twice."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client

from dominie_contracts.envelope import Recorded, unpack_position
from dominie_eventstore import Durability, EventStore, JetStreamEventStore, rolling, verify_chain
from dominie_eventstore.conformance import EventStoreConformance, all_of, draft, stream

if TYPE_CHECKING:
    from tests.chaos.conftest import Cluster, Told, Writers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
Connect = Callable[..., Awaitable[Client]]
WRITERS, BEFORE, AFTER, LATER = 32, 300, 600, 200
AWAY_S = 10.0


async def leader(nc: Client) -> str:
    """The node that leads the log's replicas; an empty name while there is none."""
    try:
        answer = await nc.request("$JS.API.STREAM.INFO.EVENTS_0", b"", timeout=1)
    except TimeoutError:
        return ""
    return str(json.loads(answer.data).get("cluster", {}).get("leader", ""))


async def follow(store: EventStore, seen: list[Recorded]) -> None:
    async with aclosing(store.subscribe("follower", category="tool")) as following:
        async for event in following:
            seen.append(event)


@pytest.mark.parametrize("connected_to_it", [True, False])
async def test_the_leader_is_killed(
    cluster: "Cluster",
    replicated: JetStreamEventStore,
    connect: Connect,
    told: "Told",
    writers: "type[Writers]",
    connected_to_it: bool,
) -> None:
    first = await leader(await connect(*cluster.urls))
    urls = [node.url for name, node in cluster.nodes.items() if (name == first) == connected_to_it]
    client = await connect(*urls, *cluster.urls)
    store, seen = JetStreamEventStore(client, replicas=3), list[Recorded]()

    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        reading = group.create_task(follow(JetStreamEventStore(await connect(*reversed(cluster.urls))), seen))
        load = writers(store, told, WRITERS)
        async with load.writing():
            await load.more(BEFORE)
            await asyncio.to_thread(cluster.nodes[first].kill)
            await load.more(AFTER)
            await asyncio.to_thread(cluster.nodes[first].start)
            await load.more(AFTER)
        stored = [event async for event in store.read_all()]
        while len(seen) < len(stored):  # noqa: ASYNC110 - the follower is a task of this loop
            await asyncio.sleep(0.01)
        reading.cancel()

    print(f"the longest append took {told.longest_s:.1f} s, of {len(told.appended)}")
    assert told.longest_s <= AWAY_S
    assert seen == stored
    await told.check(store)


async def test_the_log_rolls_under_its_writers(
    cluster: "Cluster", replicated: JetStreamEventStore, connect: Connect, told: "Told", writers: "type[Writers]"
) -> None:
    """Whoever writes and reads goes on in the next segment, at whichever node."""
    store, seen = JetStreamEventStore(await connect(*cluster.urls), replicas=3), list[Recorded]()
    operator = await connect(*reversed(cluster.urls))

    async with asyncio.timeout(90), asyncio.TaskGroup() as group:
        reading = group.create_task(follow(JetStreamEventStore(await connect(*reversed(cluster.urls))), seen))
        load = writers(store, told, WRITERS)
        async with load.writing():
            for segment in range(1, 4):
                await load.more(BEFORE)
                async with rolling(operator, timeout_s=20) as roller:
                    assert (await roller.roll()).open == segment
            await load.more(BEFORE)
        stored = [event async for event in store.read_all()]
        while len(seen) < len(stored):  # noqa: ASYNC110 - the follower is a task of this loop
            await asyncio.sleep(0.01)
        reading.cancel()

    print(f"the longest append took {told.longest_s:.2f} s, of {len(told.appended)}")
    assert seen == stored
    assert {unpack_position(event.position)[0] for event in stored} == {0, 1, 2, 3}
    assert (await verify_chain(stored)).ok
    await told.check(store)


class TestReplicated(EventStoreConformance):
    """What every event store does, on three replicas."""

    behind_s = 10.0

    @pytest.fixture
    def store(self, replicated: JetStreamEventStore) -> EventStore:
        return replicated


async def test_what_it_says_of_itself(replicated: JetStreamEventStore) -> None:
    assert await replicated.durability() == Durability("quorum", 3)


@pytest.mark.parametrize("attempt", range(3))
async def test_a_replica_that_is_behind_misleads_nobody(
    cluster: "Cluster", replicated: JetStreamEventStore, connect: Connect, attempt: int
) -> None:
    """It is stopped while others write, and asked before it has caught up."""
    first = await leader(await connect(*cluster.urls))
    there, behind = cluster.nodes[first], next(node for name, node in cluster.nodes.items() if name != first)
    writer = JetStreamEventStore(await connect(there.url), replicas=3)
    reader = JetStreamEventStore(await connect(behind.url), replicas=3, timeout_s=20)
    await writer.append(stream(), [draft()], expected_version=0)

    behind.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for version in range(1, LATER):
                await writer.append(stream(), [draft()], expected_version=version)
            everything = group.create_task(all_of(reader))
            appended = group.create_task(reader.append(stream(), [draft()], expected_version=LATER))
            await asyncio.sleep(0)
            behind.signal(signal.SIGCONT)
    finally:
        behind.signal(signal.SIGCONT)

    assert appended.result().version == LATER + 1
    assert len(everything.result()) in (LATER, LATER + 1)
    assert len(await reader.read(stream())) == LATER + 1
