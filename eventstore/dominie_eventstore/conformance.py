"""What every event store does: a test class that each backend subclasses. Needs pytest."""

import asyncio
import itertools
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from datetime import UTC, datetime
from functools import partial
from typing import ClassVar, TypeVar

import pytest

from dominie_contracts.envelope import GENESIS, Draft, Recorded
from dominie_contracts.headers import MAX_EVENT_BYTES
from dominie_contracts.subjects import StreamName
from dominie_eventstore._errors import EventTooLarge, WrongExpectedVersion
from dominie_eventstore._port import MAX_DRAFTS, EventStore
from dominie_eventstore._seal import digest

_Read = TypeVar("_Read")
_ids = itertools.count(1)
WAIT_S = 10.0


def draft(text: str = "", *, id: str | None = None) -> Draft:
    """An event that says something."""
    return Draft(
        id=id or f"event-{next(_ids)}",
        source="dominie/tool",
        type="tool.said.v1",
        time=datetime(2026, 1, 2, 3, 4, 5, 678901, UTC),
        actor="a-desk",
        data=json.dumps({"text": text}),
        on_behalf_of="u-ann",
        correlation_id="run-1",
    )


def stream(id: str = "1", *, category: str = "tool", tenant: str = "acme") -> StreamName:
    """A stream's name."""
    return StreamName(tenant, category, id)


def texts(events: list[Recorded]) -> list[object]:
    """What events say."""
    return [event.envelope.data["text"] for event in events]


async def all_of(
    store: EventStore, category: str | None = None, after: int = 0, until: int | None = None
) -> list[Recorded]:
    """`read_all` as a list."""
    async with asyncio.timeout(WAIT_S):
        return [event async for event in store.read_all(category=category, after=after, until=until)]


async def first_of(store: EventStore, count: int, *, category: str | None = None, after: int = 0) -> list[Recorded]:
    """The first events that a subscription gives."""
    events: list[Recorded] = []
    async with asyncio.timeout(WAIT_S), aclosing(store.subscribe("test", category=category, after=after)) as following:
        async for event in following:
            events.append(event)
            if len(events) == count:
                break
    return events


@pytest.mark.anyio
class EventStoreConformance:
    """Subclass it with a fixture `store`: an empty event store."""

    behind_s: ClassVar[float] = 0.0
    """How long a replica may be behind."""

    async def read(self, read: Callable[[], Awaitable[_Read]], wanted: _Read) -> _Read:
        """What a replica says that may be behind, once it is what is wanted, or the time is over."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.behind_s
        while (found := await read()) != wanted and loop.time() < end:  # noqa: ASYNC110 - it is asked, and tells nobody
            await asyncio.sleep(0.02)
        return found

    async def test_append_answers_with_what_is_stored(self, store: EventStore) -> None:
        appended = await store.append(stream(), [draft("a"), draft("b")], expected_version=0)

        assert appended.version == 2
        assert appended.position == appended.recorded[-1].position
        assert list(appended.recorded) == await store.read(stream())

    async def test_an_event_keeps_everything_it_was_given(self, store: EventStore) -> None:
        given = draft("Grüße\n\u2028 \x00 👋")

        await store.append(stream("tricky.id ~*>"), [given], expected_version=0)

        [event] = await store.read(stream("tricky.id ~*>"))
        assert event.envelope.stream == str(stream("tricky.id ~*>"))
        assert event.envelope.tenant == "acme"
        for name in Draft._fields:
            found = getattr(event.envelope, name)
            assert found == (json.loads(given.data) if name == "data" else getattr(given, name))

    async def test_events_are_chained_by_the_digests_of_their_stored_bytes(self, store: EventStore) -> None:
        await store.append(stream(), [draft(), draft()], expected_version=0)
        await store.append(stream(), [draft()], expected_version=2)

        one, two, three = await store.read(stream())
        assert [one.envelope.prev, two.envelope.prev, three.envelope.prev] == [
            GENESIS,
            digest(one.raw),
            digest(two.raw),
        ]
        assert [event.envelope.version for event in (one, two, three)] == [1, 2, 3]

    async def test_an_unknown_stream_is_empty(self, store: EventStore) -> None:
        assert await store.read(stream()) == []

    @pytest.mark.parametrize("after", [0, 1, 2, 3, 4, 9])
    async def test_read_after_a_version(self, store: EventStore, after: int) -> None:
        await store.append(stream(), [draft("1")], expected_version=0)
        await store.append(stream(), [draft("2"), draft("3")], expected_version=1)
        await store.append(stream(), [draft("4")], expected_version=3)

        assert texts(await store.read(stream(), after_version=after)) == ["1", "2", "3", "4"][after:]

    @pytest.mark.parametrize("expected", [0, 1, 3])
    async def test_a_wrong_expected_version_writes_nothing(self, store: EventStore, expected: int) -> None:
        await store.append(stream(), [draft(), draft()], expected_version=0)

        with pytest.raises(WrongExpectedVersion) as caught:
            await store.append(stream(), [draft()], expected_version=expected)

        assert (caught.value.expected, caught.value.actual) == (expected, 2)
        assert len(await store.read(stream())) == 2

    async def test_an_unknown_stream_has_version_0(self, store: EventStore) -> None:
        with pytest.raises(WrongExpectedVersion) as caught:
            await store.append(stream(), [draft()], expected_version=1)

        assert caught.value.actual == 0

    async def test_the_same_append_again_is_stored_once(self, store: EventStore) -> None:
        drafts = [draft("a"), draft("b")]
        await store.append(stream(), [draft()], expected_version=0)
        first = await store.append(stream(), drafts, expected_version=1)
        await store.append(stream(), [draft("c")], expected_version=3)

        assert await store.append(stream(), drafts, expected_version=1) == first
        assert texts(await store.read(stream())) == ["", "a", "b", "c"]

    async def test_half_of_it_is_not_the_same_append(self, store: EventStore) -> None:
        drafts = [draft("a"), draft("b")]
        await store.append(stream(), drafts[:1], expected_version=0)

        with pytest.raises(WrongExpectedVersion):
            await store.append(stream(), drafts, expected_version=0)

    @pytest.mark.parametrize("count", [0, MAX_DRAFTS + 1])
    async def test_an_append_holds_1_to_64_events(self, store: EventStore, count: int) -> None:
        with pytest.raises(ValueError, match="1 to 64"):
            await store.append(stream(), [draft() for _ in range(count)], expected_version=0)

        assert len((await store.append(stream(), [draft() for _ in range(64)], expected_version=0)).recorded) == 64

    async def test_too_large_an_append_is_refused(self, store: EventStore) -> None:
        with pytest.raises(EventTooLarge) as caught:
            await store.append(stream(), [draft("x" * (MAX_EVENT_BYTES // 2))] * 2, expected_version=0)

        assert caught.value.size > caught.value.limit
        assert await store.read(stream()) == []

    async def test_the_largest_append_is_stored(self, store: EventStore) -> None:
        probe = await store.append(stream("probe"), [draft("")], expected_version=0)
        with pytest.raises(EventTooLarge) as caught:
            await store.append(stream("probe"), [draft("x" * MAX_EVENT_BYTES)], expected_version=1)
        room = caught.value.limit - len(probe.recorded[0].raw) - 20

        await store.append(stream("large"), [draft("x" * room)], expected_version=0)

        [event] = await store.read(stream("large"))
        assert event.envelope.data["text"] == "x" * room

    async def test_read_all_gives_every_event_in_one_order(self, store: EventStore) -> None:
        await store.append(stream("1"), [draft("a"), draft("b")], expected_version=0)
        await store.append(stream("2", tenant="other"), [draft("c")], expected_version=0)
        await store.append(stream("1"), [draft("d")], expected_version=2)

        events = await all_of(store)
        assert texts(events) == ["a", "b", "c", "d"]
        positions = [event.position for event in events]
        assert positions == sorted(set(positions))
        assert positions[0] > 0

    async def test_read_all_of_a_category(self, store: EventStore) -> None:
        for id, category in enumerate(("tool", "model", "tool", "judge")):
            await store.append(stream(str(id), category=category), [draft(category + str(id))], expected_version=0)

        async def said(category: str) -> list[str]:
            return [str(text) for text in texts(await all_of(store, category))]

        assert await self.read(partial(said, "tool"), ["tool0", "tool2"]) == ["tool0", "tool2"]
        assert await self.read(partial(said, "model"), ["model1"]) == ["model1"]
        assert await all_of(store, "memory") == []

    async def test_read_all_from_any_position_until_any_position(self, store: EventStore) -> None:
        for id in range(3):
            await store.append(stream(str(id)), [draft(f"{id}a"), draft(f"{id}b")], expected_version=0)
        events = await all_of(store)
        places = [0, *(event.position for event in events), events[-1].position + 1000]

        for after, until in itertools.product(places, places):
            wanted = [event for event in events if after < event.position <= until]
            assert await all_of(store, after=after, until=until) == wanted

    async def test_read_all_ends_with_what_was_stored_when_it_began(self, store: EventStore) -> None:
        await store.append(stream(), [draft("0"), draft("1")], expected_version=0)
        seen = []

        async with asyncio.timeout(WAIT_S):
            async for event in store.read_all():
                seen.append(event)
                await store.append(stream(), [draft("later")], expected_version=1 + len(seen))

        assert texts(seen) == ["0", "1"]

    async def test_an_empty_store(self, store: EventStore) -> None:
        assert await all_of(store) == []
        assert await store.last_position() == 0
        assert await store.last_position("tool") == 0

    async def test_the_last_position(self, store: EventStore) -> None:
        tool = await store.append(stream(), [draft(), draft()], expected_version=0)
        model = await store.append(stream(category="model"), [draft()], expected_version=0)

        assert await self.read(partial(store.last_position, "tool"), tool.position) == tool.position
        assert await self.read(partial(store.last_position, "model"), model.position) == model.position
        assert await self.read(store.last_position, model.position) == model.position
        assert await store.last_position("judge") == 0

    async def test_a_subscription_gives_what_was_and_then_what_comes(self, store: EventStore) -> None:
        await store.append(stream(), [draft("0"), draft("1")], expected_version=0)
        seen = []

        async with asyncio.timeout(WAIT_S), aclosing(store.subscribe("test", category="tool")) as following:
            async for event in following:
                seen.append(event)
                if len(seen) == 6:
                    break
                await store.append(stream(category="model", id=str(len(seen))), [draft("other")], expected_version=0)
                await store.append(stream(), [draft(str(len(seen) + 1))], expected_version=1 + len(seen))

        assert texts(seen) == ["0", "1", "2", "3", "4", "5"]

    async def test_a_subscription_from_any_position(self, store: EventStore) -> None:
        for id in range(3):
            await store.append(stream(str(id)), [draft(f"{id}a"), draft(f"{id}b")], expected_version=0)
        events = await all_of(store)

        for count, event in enumerate(events[:-1], 1):
            assert await first_of(store, len(events) - count, after=event.position) == events[count:]

    async def test_a_subscription_says_when_it_has_caught_up(self, store: EventStore) -> None:
        for id in range(20):
            await store.append(stream(str(id)), [draft(), draft()], expected_version=0)
        seen: list[Recorded] = []

        async def read() -> None:
            async for event in following:
                seen.append(event)

        async with asyncio.timeout(WAIT_S), aclosing(store.subscribe("test")) as following:
            reading = asyncio.ensure_future(read())
            try:
                await following.caught_up()
                assert len(seen) == 40
                await store.append(stream("more"), [draft()], expected_version=0)
                await following.caught_up()
                assert len(seen) == 41
            finally:
                reading.cancel()
                await asyncio.wait([reading])

    async def test_a_reader_may_say_where_to_begin(self, store: EventStore) -> None:
        events: list[Recorded] = []
        for number in range(5):
            appended = await store.append(stream(), [draft("a"), draft("b")], expected_version=2 * number)
            events += appended.recorded
        for after in range(10):
            for near in (event.position for event in events[: after + 1]):
                assert await store.read(stream(), after_version=after, near=near) == events[after:]

    async def test_two_writers_of_one_stream(self, store: EventStore) -> None:
        async def write(name: str) -> int:
            won = 0
            for version in range(20):
                try:
                    await store.append(stream(), [draft(name)], expected_version=version)
                    won += 1
                except WrongExpectedVersion as error:
                    assert error.actual > version
            return won

        async with asyncio.timeout(WAIT_S):
            won = await asyncio.gather(write("a"), write("b"), write("c"))

        events = await store.read(stream())
        assert [event.envelope.version for event in events] == list(range(1, 21))
        assert sum(won) == 20

    @pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">"])
    async def test_a_bad_consumer_name_is_refused(self, store: EventStore, name: str) -> None:
        with pytest.raises(ValueError, match="cannot name a consumer"):
            store.subscribe(name)

    @pytest.mark.parametrize("category", ["", "*", ">", "Tool", "a.b"])
    async def test_a_bad_category_is_refused(self, store: EventStore, category: str) -> None:
        with pytest.raises(ValueError, match="no category"):
            await store.last_position(category)
        with pytest.raises(ValueError, match="no category"):
            store.subscribe("test", category=category)
        with pytest.raises(ValueError, match="no category"):
            await all_of(store, category)
