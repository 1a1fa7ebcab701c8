"""Streams are folded from where the last fold ended, as long as the log still holds what it folded."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nats.aio.client import Client

from dominie_contracts import StreamName
from dominie_contracts.envelope import Recorded
from dominie_eventstore import EventStore, Folds, JetStreamEventStore, MemoryEventStore
from dominie_eventstore.conformance import draft, stream

pytestmark = pytest.mark.anyio
Texts = tuple[str, ...]


def evolve(texts: Texts, events: Sequence[Recorded]) -> Texts:
    return (*texts, *(str(event.envelope.data["text"]) for event in events))


class Counting(MemoryEventStore):
    """One that counts what it hands out."""

    def __init__(self) -> None:
        super().__init__()
        self.read_events = 0

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        found = await super().read(stream, after_version=after_version, near=near)
        self.read_events += len(found)
        return found


async def write(store: EventStore, texts: list[str], *, id: str = "1", version: int = 0) -> None:
    for number, text in enumerate(texts):
        await store.append(stream(id), [draft(text)], expected_version=version + number)


async def test_only_what_is_new_is_read() -> None:
    store = Counting()
    folds: Folds[Texts] = Folds(store, (), evolve)
    await write(store, ["x"] * 1000)
    assert len(await folds.load(stream())) == 1000
    store.read_events = 0
    for number in range(100):
        await store.append(stream(), [draft("y")], expected_version=1000 + number)
        assert len(await folds.load(stream())) == 1001 + number
    assert store.read_events == 200


async def test_what_is_new_is_folded_in_one_go() -> None:
    at_once = list[int]()

    def count(texts: Texts, events: Sequence[Recorded]) -> Texts:
        at_once.append(len(events))
        return evolve(texts, events)

    store = MemoryEventStore()
    folds: Folds[Texts] = Folds(store, (), count)
    for texts in (["x"] * 100, ["y"] * 3, []):
        await write(store, texts, version=sum(at_once))
        await folds.load(stream())
    assert at_once == [100, 3]


@pytest.fixture(params=["memory", "jetstream"])
def store(request: pytest.FixtureRequest) -> EventStore:
    if request.param == "memory":
        return MemoryEventStore()
    nc: Client = request.getfixturevalue("nc")
    return JetStreamEventStore(nc)


async def test_it_is_what_the_whole_stream_comes_to(store: EventStore) -> None:
    folds: Folds[Texts] = Folds(store, (), evolve)
    assert await folds.load(stream()) == ()
    await store.append(stream(), [draft("a"), draft("b")], expected_version=0)
    assert await folds.load(stream()) == ("a", "b")
    assert await folds.load(stream()) == ("a", "b")
    await write(store, ["c", "d", "e"], version=2)
    await write(store, ["other"], id="2")
    assert await folds.load(stream()) == ("a", "b", "c", "d", "e")
    assert await folds.load(stream("2")) == ("other",)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.one_of(st.none(), st.tuples(st.sampled_from("abc"), st.integers(1, 4))), max_size=20))
async def test_folding_with_snapshots_equals_folding_all(steps: list[tuple[str, int] | None]) -> None:
    store, versions = MemoryEventStore(), dict.fromkeys("abc", 0)
    folds: Folds[Texts] = Folds(store, (), evolve, snapshots=2)
    for step in steps:
        if step is not None:
            id, count = step
            await store.append(stream(id), [draft(f"{id}{n}") for n in range(count)], expected_version=versions[id])
            versions[id] += count
            continue
        for id in "abc":
            every = [str(event.envelope.data["text"]) for event in await store.read(stream(id))]
            assert await folds.load(stream(id)) == tuple(every)


@pytest.mark.parametrize("kept", [0, 1, 3])
async def test_a_snapshot_of_another_log_is_not_used(kept: int) -> None:
    store = MemoryEventStore()
    folds: Folds[Texts] = Folds(store, (), evolve)
    await write(store, ["a", "b", "c"])
    assert await folds.load(stream()) == ("a", "b", "c")
    vars(store).update(vars(MemoryEventStore()))
    await write(store, ["x", "y", "z"][:kept])
    assert await folds.load(stream()) == ("x", "y", "z")[:kept]


async def test_two_who_fold_at_once_see_the_same() -> None:
    store = MemoryEventStore()
    folds: Folds[Texts] = Folds(store, (), evolve)
    await write(store, ["a", "b"])
    assert await asyncio.gather(*(folds.load(stream()) for _ in range(5))) == [("a", "b")] * 5
