"""Answers get lost, the database goes away, positions are nobody's: on the double, which can be told to do so."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing

import pytest
from eventstore.tests.kurrentdb_double import FOLLOWER, LEADER, READER, Server

from dominie_contracts.envelope import Recorded
from dominie_eventstore import CorruptEvent, Durability, StoreUnavailable, WrongExpectedVersion
from dominie_eventstore.conformance import all_of, draft, first_of, stream, texts
from dominie_eventstore.kurrentdb import KurrentDBEventStore

pytestmark = pytest.mark.anyio
Stores = Callable[..., KurrentDBEventStore]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server()
    await running.start()
    yield running
    await running.stop()


@pytest.fixture
async def stores(server: Server) -> AsyncIterator[Stores]:
    """Stores on the double; each has a connection of its own."""
    opened: list[KurrentDBEventStore] = []

    def open_one(house: str = "dominie", timeout_s: float = 10.0) -> KurrentDBEventStore:
        opened.append(KurrentDBEventStore(server.url, house=house, timeout_s=timeout_s))
        return opened[-1]

    yield open_one
    for store in opened:
        await store.aclose()


async def write(store: KurrentDBEventStore, id: str, count: int, *, category: str = "tool") -> None:
    for version in range(count):
        await store.append(stream(id, category=category), [draft(f"{id}.{version}")], expected_version=version)


@pytest.mark.parametrize("times", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 3])
async def test_an_append_whose_answer_is_lost_is_stored_once(
    server: Server, stores: Stores, times: int, count: int
) -> None:
    store = stores()
    await store.append(stream(), [draft("first")], expected_version=0)
    server.log.lose_answers = times

    appended = await store.append(stream(), [draft() for _ in range(count)], expected_version=1)

    assert appended.version == 1 + count
    assert list(appended.recorded) == (await all_of(store))[1:]


async def test_a_lost_race_is_told_from_a_lost_answer(server: Server, stores: Stores) -> None:
    """Both stores think that the stream is new; the second one's answer is lost as well."""
    await stores().append(stream(), [draft()], expected_version=0)
    server.log.lose_answers = 1

    with pytest.raises(WrongExpectedVersion):
        await stores().append(stream(), [draft()], expected_version=0)


async def test_the_same_event_in_other_words_is_not_stored_again(stores: Stores) -> None:
    """The database would take it by its id alone; the answer is what is stored."""
    first = await stores().append(stream(), [draft("a", id="1")], expected_version=0)

    assert await stores().append(stream(), [draft("b", id="1")], expected_version=0) == first


async def test_away_is_said_in_time(server: Server, stores: Stores) -> None:
    store = stores(timeout_s=1.0)
    await server.stop()
    began = time.monotonic()

    with pytest.raises(StoreUnavailable):
        await store.append(stream(), [draft()], expected_version=0)
    with pytest.raises(StoreUnavailable):
        await store.read(stream())
    with pytest.raises(StoreUnavailable):
        await store.last_position()
    with pytest.raises(StoreUnavailable):
        await first_of(store, 1)

    assert time.monotonic() - began < 15


async def test_what_is_refused_is_not_tried_again(server: Server, stores: Stores) -> None:
    store = stores(timeout_s=60.0)
    server.log.deny = True

    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailable, match="refuses"):
            await store.append(stream(), [draft()], expected_version=0)
        with pytest.raises(StoreUnavailable, match="refuses"):
            await first_of(store, 1)


@pytest.mark.parametrize("after", [0, 1, 7])
async def test_a_replay_that_breaks_off_goes_on(server: Server, stores: Stores, after: int) -> None:
    store = stores()
    await write(store, "1", 10)
    server.log.cut_after = after

    assert texts(await all_of(store)) == [f"1.{version}" for version in range(10)]
    assert server.log.cut_after is None


async def test_a_replay_that_ends_too_early_is_noticed(server: Server, stores: Stores) -> None:
    store = stores()
    await write(store, "1", 10)
    server.log.end_after = 4

    assert len(await all_of(store)) == 10
    assert server.log.end_after is None


async def test_a_stream_whose_reading_breaks_off_is_read_again(server: Server, stores: Stores) -> None:
    store = stores()
    await write(store, "1", 10)
    server.log.cut_after = 4

    assert len(await store.read(stream("1"))) == 10


async def test_a_subscription_survives_the_database(server: Server, stores: Stores) -> None:
    store, reader = stores(timeout_s=30), stores()
    await write(store, "before", 5)
    seen: list[Recorded] = []

    async with asyncio.timeout(40), aclosing(reader.subscribe("test")) as following:
        async for event in following:
            seen.append(event)
            if len(seen) == 5:
                await server.stop()
                await server.start()
                await write(store, "after", 5)
            elif len(seen) == 10:
                break

    assert seen == await all_of(store)


async def test_a_subscription_goes_on_from_what_it_passed(server: Server, stores: Stores) -> None:
    """Of a rare category: what is left out is not read again, since the server says how far it is."""
    store = stores()
    await write(store, "1", 1, category="policy")
    await write(store, "many", 400)
    async with asyncio.timeout(40), aclosing(stores().subscribe("test", category="policy")) as following:
        await anext(following)
        waiting = asyncio.ensure_future(anext(following))
        await following.caught_up()
        await server.stop()
        await server.start()
        await store.append(stream("2", category="policy"), [draft("new")], expected_version=0, timeout_s=20)
        event = await waiting

    assert event.envelope.data["text"] == "new"
    assert server.log.followed_from[-1] > server.log.events[200].position


@pytest.mark.parametrize("lenient", [False, True])
async def test_positions_that_no_event_has(server: Server, stores: Stores, lenient: bool) -> None:
    """As a read model of another log may have them; the database itself takes none of these to follow from."""
    store = stores()
    server.log.lenient = lenient
    await write(store, "1", 3)
    events = await all_of(store)

    for event in events[:-1]:
        rest = events[events.index(event) + 1 :]
        assert await all_of(store, after=event.position + 1) == rest
        assert await all_of(store, until=event.position + 1) == events[: -len(rest)]
        assert await first_of(store, len(rest), after=event.position + 1) == rest
    assert await first_of(store, 3, after=1) == events


async def test_an_event_that_comes_again_is_passed_over(server: Server, stores: Stores) -> None:
    store = stores()
    await write(store, "1", 3)
    events = await all_of(store)
    server.log.repeats = True

    assert await first_of(store, 2, after=events[0].position) == events[1:]


async def test_two_houses_in_one_database(stores: Stores) -> None:
    one, other = stores("one"), stores("other")
    await write(one, "1", 2)
    await write(other, "1", 1)

    assert len(await all_of(one)) == 2
    assert await other.last_position("tool") == (await all_of(other))[-1].position


async def test_what_is_no_event_of_ours_is_told(server: Server, stores: Stores) -> None:
    server.log.store(f"dominie.tool-{stream()}", [("tool.said.v1", "00000000-0000-0000-0000-000000000001", b"{}")])

    with pytest.raises(CorruptEvent):
        await stores().read(stream())
    with pytest.raises(CorruptEvent):
        await all_of(stores())


async def test_nothing_of_a_reader_is_left(server: Server, stores: Stores) -> None:
    store = stores()
    await write(store, "1", 3)

    await first_of(store, 2)
    async with aclosing(store.read_all()) as reading:
        await anext(reading)

    async with asyncio.timeout(5):
        while server.log.reading:
            await store.last_position()


async def test_a_cluster_says_how_many_decide(server: Server, stores: Stores) -> None:
    """Of a node by itself nobody knows whether it syncs its disk, so nothing is claimed."""
    assert await stores().durability() == Durability("none")

    server.log.nodes = (LEADER, FOLLOWER, FOLLOWER, READER)
    assert await stores().durability() == Durability("quorum", 3)


async def test_a_closed_store_says_so(stores: Stores) -> None:
    store = stores()
    await store.aclose()

    with pytest.raises(StoreUnavailable, match="closed"):
        await store.read(stream())


@pytest.mark.parametrize("url", ["", "nats://127.0.0.1", "kurrentdb://", "kurrentdb://127.0.0.1"])
async def test_a_bad_address_is_refused(url: str) -> None:
    """The last one: TLS needs a user and a password."""
    with pytest.raises(ValueError, match=r"URI scheme|No targets|Username"):
        KurrentDBEventStore(url)


async def test_a_bad_house_is_refused() -> None:
    with pytest.raises(ValueError, match="begin the names"):
        KurrentDBEventStore("kurrentdb://127.0.0.1?tls=false", house="a-b")
