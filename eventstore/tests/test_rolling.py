"""The log goes on in the next segment, and nobody who writes or reads it notices."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import pytest
from nats.aio.client import Client

from dominie_contracts.envelope import Recorded, unpack_position
from dominie_contracts.subjects import event_subject
from dominie_eventstore import (
    JetStreamEventStore,
    Segments,
    StoreUnavailable,
    WrongExpectedVersion,
    provision,
    rolling,
)
from dominie_eventstore import verify_chain as verified
from dominie_eventstore.conformance import all_of, draft, stream, texts

pytestmark = pytest.mark.anyio
Clients = Callable[..., Awaitable[Client]]
WAIT_S = 30.0


class Watched(Client):
    """A connection that notes what is published, and may lose the answer to the first append."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        super().__init__()
        self.published: list[str] = []
        self._meanwhile = meanwhile

    async def publish(
        self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        self.published.append(subject)
        if self._meanwhile is None or not subject.startswith("evt."):
            await super().publish(subject, payload, reply, headers)
            return
        meanwhile, self._meanwhile = self._meanwhile, None
        await super().publish(subject, payload, self.new_inbox(), headers)
        await meanwhile()


async def roll(nc: Client) -> Segments:
    async with rolling(nc) as roller:
        return await roller.roll()


def segments_of(events: list[Recorded]) -> list[int]:
    return [unpack_position(event.position)[0] for event in events]


async def test_a_stream_goes_on_in_the_next_segment(nc: Client, clients: Clients) -> None:
    store, other = JetStreamEventStore(nc), JetStreamEventStore(await clients())
    await store.append(stream(), [draft("1"), draft("2")], expected_version=0)
    assert await roll(nc) == Segments(open=1)
    await store.append(stream(), [draft("3")], expected_version=2)
    assert await roll(nc) == Segments(open=2)
    await other.append(stream(), [draft("4")], expected_version=3)

    events = await all_of(store)
    assert texts(events) == ["1", "2", "3", "4"]
    assert segments_of(events) == [0, 0, 1, 2]
    assert events == await store.read(stream()) == await other.read(stream())
    assert (await verified(events)).ok


@pytest.mark.parametrize("rolls", [1, 3])
async def test_a_repeated_first_append_meets_the_one_before_the_roll(nc: Client, clients: Clients, rolls: int) -> None:
    drafts = [draft("once")]
    first = await JetStreamEventStore(nc).append(stream(), drafts, expected_version=0)
    for _ in range(rolls):
        await roll(nc)
    late = JetStreamEventStore(await clients())

    assert await late.append(stream(), drafts, expected_version=0) == first
    with pytest.raises(WrongExpectedVersion) as caught:
        await late.append(stream(), [draft("other")], expected_version=0)
    assert caught.value.actual == 1
    assert len(await all_of(late)) == 1


async def test_an_append_whose_answer_is_lost_before_a_roll_is_stored_once(nc: Client, clients: Clients) -> None:
    store = JetStreamEventStore(await clients(Watched(meanwhile=lambda: roll(nc))))

    appended = await store.append(stream(), [draft("1")], expected_version=0)

    assert await all_of(store) == list(appended.recorded)
    assert segments_of(await all_of(store)) == [0]


async def test_a_memory_from_before_the_roll_does_not_count(nc: Client, clients: Clients) -> None:
    """Another writer was the last one of the sealed segment."""
    here, there = JetStreamEventStore(nc), JetStreamEventStore(await clients())
    await here.append(stream(), [draft("1")], expected_version=0)
    await there.append(stream(), [draft("2")], expected_version=1)
    await roll(nc)

    with pytest.raises(WrongExpectedVersion) as caught:
        await here.append(stream(), [draft("lost")], expected_version=1)
    assert caught.value.actual == 2
    assert (await here.append(stream(), [draft("3")], expected_version=2)).version == 3


@pytest.mark.parametrize("writers", [4, 60])
async def test_writers_and_a_reader_while_the_log_rolls(nc: Client, clients: Clients, writers: int) -> None:
    """Everything that was acknowledged is there, once, in order, and a reader sees it all."""
    each, rolls = 15, 4
    store, reader = JetStreamEventStore(await clients()), JetStreamEventStore(await clients())
    acknowledged: list[Recorded] = []
    seen: list[Recorded] = []
    grown = asyncio.Event()

    async def write(id: str) -> None:
        for version in range(each):
            found = await store.append(stream(id), [draft(f"{id}.{version}")], expected_version=version, timeout_s=20)
            acknowledged.extend(found.recorded)
            grown.set()

    async def follow() -> None:
        async with aclosing(reader.subscribe("test")) as following:
            async for event in following:
                seen.append(event)
                if len(seen) == writers * each:
                    return

    async def roll_on() -> None:
        for number in range(1, rolls + 1):
            while len(acknowledged) < number * writers * each // (rolls + 1):
                await grown.wait()
                grown.clear()
            await roll(nc)

    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        group.create_task(follow())
        group.create_task(roll_on())
        for number in range(writers):
            group.create_task(write(str(number)))

    assert seen == sorted(acknowledged, key=lambda event: event.position) == await all_of(reader)
    assert len({(event.stream, event.envelope.version) for event in seen}) == writers * each
    assert (await verified(seen)).ok
    assert len(set(segments_of(seen))) > 1


async def test_two_who_roll_at_once(nc: Client, clients: Clients) -> None:
    other = await clients()

    found = await asyncio.gather(roll(nc), roll(other))

    assert Segments(open=1) in found
    store = JetStreamEventStore(other)
    await store.append(stream(), [draft()], expected_version=0)
    async with rolling(nc) as roller:
        assert segments_of(await all_of(store)) == [(await roller.segments()).open]


@pytest.mark.parametrize("half", [{"subjects": ["log.fence.0"]}, {"subjects": ["log.fence.0"], "sealed": True}])
@pytest.mark.parametrize("again", [roll, provision])
async def test_who_dies_on_the_way_is_followed_by_who_comes_next(
    nc: Client, clients: Clients, half: dict[str, object], again: Callable[[Client], Awaitable[Segments]]
) -> None:
    """The segment is closed, and nobody says that the next one is open: appends wait, and nothing is lost."""
    store = JetStreamEventStore(nc)
    await store.append(stream(), [draft("1")], expected_version=0)
    config = json.loads((await nc.request("$JS.API.STREAM.INFO.EVENTS_0", b"", timeout=30)).data)["config"]
    await nc.request("$JS.API.STREAM.UPDATE.EVENTS_0", json.dumps(config | half).encode(), timeout=30)

    with pytest.raises(StoreUnavailable):
        await store.append(stream(), [draft("2")], expected_version=1, timeout_s=0.3)
    waiting = asyncio.ensure_future(store.append(stream(), [draft("2")], expected_version=1))
    assert await again(await clients()) == Segments(open=1)

    assert segments_of(list((await waiting).recorded)) == [1]
    assert texts(await all_of(store)) == ["1", "2"]


async def test_whoever_waits_is_caught_up_over_a_roll(nc: Client, clients: Clients) -> None:
    store, reader = JetStreamEventStore(nc), JetStreamEventStore(await clients())
    await store.append(stream("0"), [draft()], expected_version=0)
    seen: list[Recorded] = []

    async def read() -> None:
        async for event in following:
            seen.append(event)

    async with asyncio.timeout(WAIT_S), aclosing(reader.subscribe("test", category="tool")) as following:
        reading = asyncio.ensure_future(read())
        try:
            for number in range(1, 6):
                await following.caught_up()
                assert len(seen) == number
                await roll(nc)
                await store.append(stream(str(number)), [draft()], expected_version=0)
        finally:
            reading.cancel()
            await asyncio.wait([reading])


async def test_a_new_stream_in_the_first_segment_costs_one_request(nc: Client, clients: Clients) -> None:
    client = Watched()
    store = JetStreamEventStore(await clients(client))
    await store.append(stream("1"), [draft()], expected_version=0)
    client.published.clear()

    await store.append(stream("2"), [draft()], expected_version=0)

    assert client.published == [event_subject(0, str(stream("2")))]


async def test_how_large_a_segment_is(nc: Client) -> None:
    store = JetStreamEventStore(nc)
    async with rolling(nc) as roller:
        empty = await roller.state(0)
        assert (empty.closed, empty.appends, empty.first, empty.last) == (False, 0, None, 0)
        await store.append(stream(), [draft(), draft()], expected_version=0)
        await roller.roll()
        full = await roller.state(0)
        assert (full.closed, full.appends, full.last) == (True, 1, 1)
        assert full.bytes > 500 and full.first is not None
        with pytest.raises(StoreUnavailable, match="segment 7"):
            await roller.state(7)


@pytest.mark.parametrize("half", [{}, {"sealed": True}])
async def test_a_half_roll_is_seen_and_its_fences_are_no_appends(nc: Client, half: dict[str, object]) -> None:
    await JetStreamEventStore(nc).append(stream(), [draft()], expected_version=0)
    config = json.loads((await nc.request("$JS.API.STREAM.INFO.EVENTS_0", b"", timeout=30)).data)["config"]
    config |= {"subjects": ["log.fence.0"]}
    await nc.request("$JS.API.STREAM.UPDATE.EVENTS_0", json.dumps(config).encode(), timeout=30)
    for _ in range(2):
        await nc.request("log.fence.0", b"", timeout=30)
    await nc.request("$JS.API.STREAM.UPDATE.EVENTS_0", json.dumps(config | half).encode(), timeout=30)

    async with rolling(nc) as roller:
        state = await roller.state(0)
    assert (state.closed, state.appends, state.last) == (True, 1, 1)


async def test_a_segment_that_somebody_else_sealed_meanwhile_is_left(nc: Client) -> None:
    async with rolling(nc) as roller:
        assert await roller.roll(0) == await roller.roll(0) == Segments(open=1)
