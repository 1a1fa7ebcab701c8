"""Projections: followed, waited for, rebuilt."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from dominie_contracts.envelope import Recorded
from dominie_contracts.subjects import event_subject
from dominie_eventstore import (
    CorruptEvent,
    EventStore,
    InMemory,
    JetStreamEventStore,
    MemoryEventStore,
    Projection,
    Projector,
    WrongExpectedVersion,
)
from dominie_eventstore.conformance import draft, stream

pytestmark = pytest.mark.anyio
WAIT_S = 30.0


class Words(InMemory):
    """How often each word was said."""

    def __init__(self) -> None:
        self.position = 0
        self.counts: Counter[str] = Counter()

    def apply(self, event: Recorded) -> None:
        self.counts.update(str(event.envelope.data["text"]).split())
        self.position = event.position


@asynccontextmanager
async def projecting(
    store: EventStore, projection: Projection, category: str | None = "tool"
) -> AsyncIterator[Projector]:
    projector = Projector(store, projection, name="test", category=category)
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        running = group.create_task(projector.run())
        await projector.caught_up.wait()
        yield projector
        running.cancel()


@pytest.fixture(params=["memory", "jetstream"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    nc: Client = request.getfixturevalue("nc")
    return JetStreamEventStore(nc)


async def test_it_has_seen_everything_once_it_is_ready(store: EventStore) -> None:
    await store.append(stream("1"), [draft("a b"), draft("b")], expected_version=0)
    words = Words()

    async with projecting(store, words):
        assert words.counts == {"a": 1, "b": 2}


async def test_it_is_ready_though_there_is_nothing_to_see(store: EventStore) -> None:
    await store.append(stream(category="model"), [draft("a")], expected_version=0)
    words = Words()

    async with projecting(store, words):
        assert words.position == 0


async def test_it_can_be_waited_for(store: EventStore) -> None:
    words = Words()
    async with projecting(store, words) as projector:
        for number in range(20):
            appended = await store.append(stream(str(number)), [draft("a")], expected_version=0)
            await projector.wait_for(appended.position, WAIT_S)
            assert words.counts["a"] == number + 1


async def test_a_position_of_another_category_is_waited_for_too(store: EventStore) -> None:
    words = Words()
    async with projecting(store, words) as projector:
        for number in range(20):
            await store.append(stream(str(number)), [draft("a")], expected_version=0)
            other = await store.append(stream(str(number), category="model"), [draft()], expected_version=0)
            await projector.wait_for(other.position, WAIT_S)
            assert words.counts["a"] == number + 1


async def test_waiting_ends() -> None:
    store, words = MemoryEventStore(), Words()
    appended = await store.append(stream(), [draft("a")], expected_version=0)
    projector = Projector(store, words, name="test", category="tool")

    with pytest.raises(TimeoutError):
        await projector.wait_for(appended.position, 0.01)


async def test_it_goes_on_where_it_was(store: EventStore) -> None:
    words = Words()
    await store.append(stream(), [draft("a")], expected_version=0)
    async with projecting(store, words):
        pass
    await store.append(stream(), [draft("b")], expected_version=1)

    async with projecting(store, words):
        assert words.counts == {"a": 1, "b": 1}


async def test_it_is_rebuilt_while_it_is_followed(store: EventStore) -> None:
    words = Words()
    await store.append(stream(), [draft("a"), draft("b")], expected_version=0)
    async with projecting(store, words) as projector:
        words.counts["wrong"] = 1
        await projector.rebuild()
        assert words.counts == {"a": 1, "b": 1}

        appended = await store.append(stream(), [draft("c")], expected_version=2)
        await projector.wait_for(appended.position, WAIT_S)
        assert words.counts == {"a": 1, "b": 1, "c": 1}


class Behind(MemoryEventStore):
    """It answers with fewer events than it has, with each read by one less, as a replica does that catches up."""

    lacks = 0

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        events = [event async for event in super().read_all(category=category, after=after, until=until)]
        lacks, self.lacks = self.lacks, max(self.lacks - 1, 0)
        for event in events[: max(len(events) - lacks, 0)]:
            yield event


async def test_a_rebuild_leaves_out_nothing_that_a_replica_does_not_have_yet() -> None:
    store, words = Behind(), Words()
    await store.append(stream(), [draft("a"), draft("b"), draft("c")], expected_version=0)

    async with projecting(store, words) as projector:
        store.lacks = 3
        await projector.rebuild()

        assert words.counts == {"a": 1, "b": 1, "c": 1}


async def test_one_that_is_ahead_of_the_log_was_of_another_log(store: EventStore) -> None:
    words = Words()
    words.position, words.counts = 10**15, Counter(old=1)
    await store.append(stream(), [draft("a")], expected_version=0)

    async with projecting(store, words):
        assert words.counts == {"a": 1}


async def test_an_error_of_the_projection_ends_it() -> None:
    class Broken(Words):
        def apply(self, event: Recorded) -> None:
            raise ZeroDivisionError

    store = MemoryEventStore()
    await store.append(stream(), [draft()], expected_version=0)

    with pytest.raises(ZeroDivisionError):
        await Projector(store, Broken(), name="test").run()


async def test_a_corrupt_event_ends_it(nc: Client) -> None:
    await nc.request(event_subject(0, str(stream())), b'{"specversion":"1.0"}')

    with pytest.raises(CorruptEvent) as caught:
        await Projector(JetStreamEventStore(nc), Words(), name="test").run()

    assert (caught.value.position, caught.value.stream) == (1 << 8, str(stream()))


writes = st.lists(
    st.tuples(st.sampled_from("abc"), st.lists(st.text("xyz ", max_size=8), min_size=1, max_size=3)), max_size=12
)


@settings(max_examples=40, deadline=None)
@given(before=writes, after=writes)
async def test_a_rebuilt_projection_equals_the_live_one(
    before: list[tuple[str, list[str]]], after: list[tuple[str, list[str]]]
) -> None:
    store, live, late = MemoryEventStore(), Words(), Words()
    await write(store, before)
    async with projecting(store, live) as projector:
        await write(store, after)
        await projector.wait_for(await store.last_position(), WAIT_S)
        seen = Counter(live.counts)
        await projector.rebuild()
        assert live.counts == seen
    async with projecting(store, late):
        assert (late.counts, late.position) == (live.counts, live.position)


async def write(store: EventStore, appends: list[tuple[str, list[str]]]) -> None:
    for id, said in appends:
        version = len(await store.read(stream(id)))
        await store.append(stream(id), [draft(text) for text in said], expected_version=version)


@settings(max_examples=40, deadline=None)
@given(writes)
async def test_repeating_any_append_changes_nothing(appends: list[tuple[str, list[str]]]) -> None:
    store = MemoryEventStore()
    for id, said in appends:
        version = len(await store.read(stream(id)))
        drafts = [draft(text) for text in said]
        first = await store.append(stream(id), drafts, expected_version=version)
        stored = [event async for event in store.read_all()]

        assert await store.append(stream(id), drafts, expected_version=version) == first
        with pytest.raises(WrongExpectedVersion):
            await store.append(stream(id), [draft(text) for text in said], expected_version=version)
        assert [event async for event in store.read_all()] == stored
