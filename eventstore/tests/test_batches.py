"""Many appends at once go out as one batch; each fares as if it had gone alone."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.client import Client

from dominie_contracts.envelope import Recorded
from dominie_eventstore import Appended, EventStore, JetStreamEventStore, StoreUnavailable, WrongExpectedVersion
from dominie_eventstore.conformance import all_of, draft, stream

pytestmark = pytest.mark.anyio
Clients = Callable[..., Awaitable[Client]]
WAIT_S = 20.0


class Watched(Client):
    """A connection that counts batches, and loses the answer to some of them."""

    def __init__(self, lost: int = 0) -> None:
        super().__init__()
        self.lost = lost
        self.sizes: list[int] = []

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        if headers and "Nats-Batch-Commit" in headers:
            self.sizes.append(int(headers["Nats-Batch-Sequence"]))
            if len(self.sizes) <= self.lost:
                reply = self.new_inbox()
        await super().publish(subject, payload, reply, headers)


async def many(store: EventStore, count: int, *, version: int = 0) -> list[Appended | BaseException]:
    """As many appends at once, each to its own stream."""
    async with asyncio.timeout(WAIT_S):
        appends = [store.append(stream(str(id)), [draft(str(id))], expected_version=version) for id in range(count)]
        return await asyncio.gather(*appends, return_exceptions=True)


async def check(store: EventStore, outcomes: list[Appended | BaseException]) -> list[Recorded]:
    """Everything that was acknowledged is stored as it was acknowledged, and nothing else."""
    answered = [event for outcome in outcomes if isinstance(outcome, Appended) for event in outcome.recorded]
    stored = await all_of(store)
    assert sorted(answered, key=lambda event: event.position) == stored
    return stored


async def test_many_at_once_go_out_in_few_batches(nc: Client, clients: Clients) -> None:
    client = Watched()
    store = JetStreamEventStore(await clients(client))

    outcomes = await many(store, 300)

    assert len(await check(store, outcomes)) == 300
    assert 1 <= len(client.sizes) <= 5
    again = await many(store, 300, version=1)
    assert all(isinstance(outcome, Appended) and outcome.version == 2 for outcome in again)


async def test_a_few_at_once_go_out_alone(nc: Client, clients: Clients) -> None:
    client = Watched()
    store = JetStreamEventStore(await clients(client))

    await check(store, await many(store, 5))

    assert client.sizes == []


@pytest.mark.parametrize("late", [[0], [50], [99], [20, 60, 61], range(10, 90)])
async def test_one_that_comes_too_late_harms_no_other(nc: Client, clients: Clients, late: list[int]) -> None:
    other = JetStreamEventStore(nc)
    for id in late:
        await other.append(stream(str(id)), [draft("earlier")], expected_version=0)
    before = await all_of(other)
    store = JetStreamEventStore(await clients())

    outcomes = await many(store, 100)

    for id, outcome in enumerate(outcomes):
        assert isinstance(outcome, WrongExpectedVersion if id in late else Appended)
    assert len(await all_of(store)) == 100
    assert (await all_of(store))[: len(before)] == before


async def test_a_batch_whose_answer_is_lost_is_stored_once(nc: Client, clients: Clients) -> None:
    client = Watched(lost=1)
    store = JetStreamEventStore(await clients(client))

    outcomes = await many(store, 100)

    assert len(await check(store, outcomes)) == 100


async def test_racing_appends_to_one_stream_in_one_batch(nc: Client, clients: Clients) -> None:
    store = JetStreamEventStore(await clients())

    async with asyncio.timeout(WAIT_S):
        appends = [store.append(stream(str(n % 10)), [draft(str(n))], expected_version=0) for n in range(100)]
        outcomes = await asyncio.gather(*appends, return_exceptions=True)

    assert sum(isinstance(outcome, Appended) for outcome in outcomes) == 10
    assert sum(isinstance(outcome, WrongExpectedVersion) for outcome in outcomes) == 90
    await check(store, list(outcomes))


async def test_some_are_cancelled(nc: Client, clients: Clients) -> None:
    store = JetStreamEventStore(await clients())
    appends = [asyncio.ensure_future(store.append(stream(str(id)), [draft()], expected_version=0)) for id in range(100)]
    await asyncio.sleep(0)
    for append in appends[::3]:
        append.cancel()

    async with asyncio.timeout(WAIT_S):
        outcomes = await asyncio.gather(*appends, return_exceptions=True)

    assert all(isinstance(outcome, Appended) for n, outcome in enumerate(outcomes) if n % 3)
    streams = [event.envelope.stream for event in await all_of(store)]
    assert len(streams) == len(set(streams)) >= 66


async def test_a_stream_without_batches_still_takes_many(nc: Client, clients: Clients) -> None:
    answer = await nc.request("$JS.API.STREAM.INFO.EVENTS_0", b"", timeout=30)
    config = json.loads(answer.data)["config"] | {"allow_atomic": False}
    await nc.request("$JS.API.STREAM.UPDATE.EVENTS_0", json.dumps(config).encode(), timeout=30)
    store = JetStreamEventStore(await clients())

    assert len(await check(store, await many(store, 50))) == 50


async def test_large_appends_are_spread_over_batches(nc: Client, clients: Clients) -> None:
    client = Watched()
    store = JetStreamEventStore(await clients(client))

    async with asyncio.timeout(WAIT_S):
        appends = [store.append(stream(str(n)), [draft("x" * 400_000)], expected_version=0) for n in range(40)]
        outcomes = await asyncio.gather(*appends, return_exceptions=True)

    assert len(await check(store, list(outcomes))) == 40
    assert max(client.sizes) <= 12


async def test_a_closed_connection_ends_them_all(nc: Client, clients: Clients) -> None:
    client = await clients()
    store = JetStreamEventStore(client, timeout_s=1)
    await store.append(stream("first"), [draft()], expected_version=0)
    appends = [asyncio.ensure_future(store.append(stream(str(id)), [draft()], expected_version=0)) for id in range(50)]
    await asyncio.sleep(0)
    await client.close()

    async with asyncio.timeout(WAIT_S):
        outcomes = await asyncio.gather(*appends, return_exceptions=True)

    assert all(isinstance(outcome, StoreUnavailable | Appended) for outcome in outcomes)
