"""Appends whose acknowledgement is lost, or whose place is taken: each is settled by reading."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from nats.aio.client import Client

from dominie_contracts.subjects import event_subject
from dominie_eventstore import JetStreamEventStore, StoreUnavailable, WrongExpectedVersion
from dominie_eventstore.conformance import draft, stream, texts

pytestmark = pytest.mark.anyio
SEGMENTS = "$JS.API.STREAM.MSG.GET.SEGMENTS"
"""A new store asks once which segments there are, and whoever must not miss the latest event asks again."""
Clients = Callable[..., Awaitable[Client]]


class Unreliable(Client):
    """A connection that does to appends what `fate` says, one after the other, and then what it should."""

    def __init__(self, *fate: str) -> None:
        super().__init__()
        self.fate = list(fate)
        self.published: list[str] = []

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        self.published.append(subject)
        fate = self.fate.pop(0) if subject.startswith("evt.") and self.fate else "well"
        if fate == "answer lost":
            reply = self.new_inbox()
        elif fate == "no responders":
            subject = "nobody"
        if fate != "request lost":
            await super().publish(subject, payload, reply, headers)
        if fate != "well":
            await self.afterwards()

    async def afterwards(self) -> None:
        """What happens meanwhile."""


@pytest.mark.parametrize("fate", ["answer lost", "request lost", "no responders"])
@pytest.mark.parametrize("version", [0, 2])
async def test_an_append_that_got_no_answer_is_stored_once(
    nc: Client, clients: Clients, fate: str, version: int
) -> None:
    if version:
        await JetStreamEventStore(nc).append(stream(), [draft("x"), draft("y")], expected_version=0)
    client = Unreliable(fate, fate)
    store = JetStreamEventStore(await clients(client))
    drafts = [draft("a"), draft("b")]

    appended = await store.append(stream(), drafts, expected_version=version)

    assert appended.version == version + 2
    assert (await store.read(stream()))[version:] == list(appended.recorded)
    assert texts(list(appended.recorded)) == ["a", "b"]


async def test_after_a_lost_answer_others_may_have_gone_on(nc: Client, clients: Clients) -> None:
    other = JetStreamEventStore(nc)

    class Slow(Unreliable):
        async def afterwards(self) -> None:
            while not await other.read(stream()):
                await self.flush()
            await other.append(stream(), [draft("theirs"), draft("too")], expected_version=1)

    store = JetStreamEventStore(await clients(Slow("answer lost")))

    appended = await store.append(stream(), [draft("ours")], expected_version=0)

    assert appended.version == 1
    assert texts(await store.read(stream())) == ["ours", "theirs", "too"]


async def test_a_lost_request_may_find_its_place_taken(nc: Client, clients: Clients) -> None:
    other = JetStreamEventStore(nc)

    class Overtaken(Unreliable):
        async def afterwards(self) -> None:
            await other.append(stream(), [draft("theirs")], expected_version=0)

    store = JetStreamEventStore(await clients(Overtaken("request lost")))

    with pytest.raises(WrongExpectedVersion) as caught:
        await store.append(stream(), [draft("ours")], expected_version=0)

    assert caught.value.actual == 1


async def test_no_answer_at_all_ends_with_the_deadline(nc: Client, clients: Clients) -> None:
    store = JetStreamEventStore(await clients(Unreliable(*["request lost"] * 1000)))

    async with asyncio.timeout(3):
        with pytest.raises(StoreUnavailable, match=r"nothing within 0\.2 s"):
            await store.append(stream(), [draft()], expected_version=0, timeout_s=0.2)


async def test_a_closed_connection_is_unavailable(nc: Client, clients: Clients) -> None:
    client = await clients()
    store = JetStreamEventStore(client, timeout_s=0.5)
    await client.close()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.append(stream(), [draft()], expected_version=0)
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read(stream())
    with pytest.raises(StoreUnavailable):
        await anext(store.subscribe("test"))


async def test_a_stream_that_was_not_provisioned_is_unavailable(nc: Client) -> None:
    await nc.request("$JS.API.STREAM.DELETE.EVENTS_0", b"", timeout=30)
    store = JetStreamEventStore(nc, timeout_s=0.2)

    with pytest.raises(StoreUnavailable):
        await store.append(stream(), [draft()], expected_version=0)
    with pytest.raises(StoreUnavailable):
        await store.last_position()
    with pytest.raises(StoreUnavailable):
        await anext(store.subscribe("test"))


async def test_a_stale_memory_of_a_stream_is_settled(nc: Client, clients: Clients) -> None:
    here, there = JetStreamEventStore(nc), JetStreamEventStore(await clients())
    await here.append(stream(), [draft("1")], expected_version=0)
    await there.append(stream(), [draft("2")], expected_version=1)

    with pytest.raises(WrongExpectedVersion) as caught:
        await here.append(stream(), [draft("lost")], expected_version=1)
    assert caught.value.actual == 2
    assert (await here.append(stream(), [draft("3")], expected_version=2)).version == 3
    assert (await there.append(stream(), [draft("4")], expected_version=3)).version == 4


async def test_what_an_append_asks_of_the_broker(nc: Client, clients: Clients) -> None:
    client = Unreliable()
    store = JetStreamEventStore(await clients(client))

    await store.append(stream(), [draft(), draft()], expected_version=0)
    await store.append(stream(), [draft()], expected_version=2)
    await store.read(stream(), after_version=2)

    name = event_subject(0, str(stream()))
    assert client.published == [SEGMENTS, name, name, SEGMENTS, f"$JS.API.DIRECT.GET.EVENTS_0.{name}"]


async def test_a_store_that_never_saw_the_stream_asks_once(nc: Client, clients: Clients) -> None:
    await JetStreamEventStore(nc).append(stream(), [draft()], expected_version=0)
    client = Unreliable()
    store = JetStreamEventStore(await clients(client))

    await store.append(stream(), [draft()], expected_version=1)

    name = event_subject(0, str(stream()))
    assert client.published == [SEGMENTS, SEGMENTS, f"$JS.API.DIRECT.GET.EVENTS_0.{name}", name]


async def test_two_processes_race_on_one_stream(nc: Client, clients: Clients) -> None:
    """Each version is won by exactly one, whoever remembers what."""
    stores = [JetStreamEventStore(nc), JetStreamEventStore(await clients())]
    won: list[tuple[int, str]] = []

    async def write(name: str, store: JetStreamEventStore) -> None:
        for version in range(30):
            try:
                await store.append(stream(), [draft(name)], expected_version=version)
                won.append((version, name))
            except WrongExpectedVersion as error:
                assert error.actual > version

    async with asyncio.timeout(20), asyncio.TaskGroup() as group:
        for number, store in enumerate(stores):
            group.create_task(write(str(number), store))

    assert [version for version, _ in sorted(won)] == list(range(30))
    assert texts(await stores[0].read(stream())) == [name for _, name in sorted(won)]
