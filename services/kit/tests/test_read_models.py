"""A service's read models: what is refused while they are built, and what is told of it."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import ClassVar

import anyio
import pytest

from dominie_contracts import Invalid, Recorded
from dominie_contracts.operations import ReadModel, Rebuild
from dominie_eventstore import InMemory, MemoryEventStore, Projector, SqlProjection, StoreUnavailable
from dominie_eventstore.conformance import draft, stream
from dominie_kit.read_models import ReadModels

pytestmark = pytest.mark.anyio
WAIT_S = 20.0
EVENTS = 300


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def store() -> MemoryEventStore:
    store = MemoryEventStore()
    for number in range(EVENTS):
        await store.append(stream(), [draft(str(number))], expected_version=number)
    return store


class Count(InMemory):
    """How many events there are; one of them may be too much."""

    too_much: int | None = None

    def __init__(self) -> None:
        self.position = self.count = 0

    def apply(self, event: Recorded) -> None:
        self.count += 1
        self.position = event.position
        if self.count == self.too_much:
            raise ZeroDivisionError


class Old(SqlProjection):
    """One in a file."""

    SCHEMA = "CREATE TABLE said (text TEXT)"
    SCHEMA_VERSION = 1

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        db.execute("INSERT INTO said VALUES (?)", (str(event.envelope.data["text"]),))


class New(Old):
    """A later version of it, which waits before it applies anything."""

    SCHEMA_VERSION = 2


class Sealed(Old):
    """What the log says as long as there is a key."""

    key: ClassVar[bool] = True

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        db.execute("INSERT INTO said VALUES (?)", ("text" if self.key else "$erased",))

    @property
    def said(self) -> set[str]:
        return {text for (text,) in self.db.execute("SELECT text FROM said")}


class Held(MemoryEventStore):
    """A log that hands nothing out until it is let go."""

    def __init__(self, store: MemoryEventStore) -> None:
        vars(self).update(vars(store))
        self.go = anyio.Event()

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        async for event in super().read_all(category=category, after=after, until=until):
            yield event
            if event.position == 100 << 8:
                await self.go.wait()


class Away(MemoryEventStore):
    """A log that is away when it is first asked."""

    def __init__(self, store: MemoryEventStore) -> None:
        vars(self).update(vars(store))
        self.asked = 0

    async def last_position(self, category: str | None = None) -> int:
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("asking where the log ends: nothing within 5 s")
        return await super().last_position(category)


@asynccontextmanager
async def running(models: ReadModels) -> AsyncIterator[None]:
    with anyio.fail_after(WAIT_S):
        async with anyio.create_task_group() as group:
            models.start(group)
            yield
            group.cancel_scope.cancel()


async def until(there: Callable[[], bool]) -> None:
    with anyio.fail_after(WAIT_S):
        while not there():  # noqa: ASYNC110 - what is told is asked for
            await anyio.sleep(0.005)


def of(models: ReadModels, name: str) -> ReadModel:
    (found,) = [model for model in models.status if model.name == name]
    return found


async def test_one_of_another_version_is_refused_until_it_is_built(tmp_path: Path, store: MemoryEventStore) -> None:
    path = tmp_path / "said.sqlite"
    Old(path).close()
    held, models = Held(store), ReadModels("audit")
    with New(path) as new:
        models.add("log", Projector(held, new, name="test"), own=True)
        async with running(models):
            await until(lambda: of(models, "log").events == 100)
            refusal = models.refusal()
            assert refusal is not None
            assert (refusal.type, refusal.extra) == ("unavailable", {"read_model": "log", "percent": 33.3})
            assert refusal.retry_after_s is not None
            assert 0.5 <= refusal.retry_after_s <= 60
            assert (of(models, "log").state, of(models, "log").percent) == ("building", 33.3)
            held.go.set()
            await models.whole()
            assert models.refusal() is None
            assert (of(models, "log").state, of(models, "log").events) == ("current", EVENTS)


async def test_a_log_that_is_away_at_the_start_is_waited_for(store: MemoryEventStore) -> None:
    away, models, count = Away(store), ReadModels("tool"), Count()
    models.add("count", Projector(away, count, name="count"), own=True)
    async with running(models):
        await models.whole()
    assert (count.count, away.asked) == (EVENTS, 2)


async def test_those_that_are_asked_for_are_rebuilt_one_after_the_other(store: MemoryEventStore) -> None:
    held, models, one, two = Held(store), ReadModels("tool"), Count(), Count()
    models.add("one", Projector(held, one, name="one"), own=True)
    models.add("two", Projector(held, two, name="two"), own=True)
    async with running(models):
        await models.whole()
        one.count = two.count = 7
        assert models.rebuild(Rebuild()).read_models == ("one", "two")
        assert models.rebuild(Rebuild(read_model="two")).read_models == ("two",)
        await until(lambda: of(models, "one").events == 100)
        assert (of(models, "one").state, of(models, "two").state) == ("rebuilding", "rebuilding")
        assert (of(models, "two").percent, one.count, models.refusal()) == (0.0, 7, None)
        held.go.set()
        await until(lambda: {model.state for model in models.status} == {"current"})
        assert (one.count, two.count) == (EVENTS, EVENTS)


async def test_one_that_fails_is_told_and_the_one_before_serves(store: MemoryEventStore) -> None:
    models, count = ReadModels("tool"), Count()
    models.add("count", Projector(store, count, name="test"), own=True)
    async with running(models):
        await models.whole()
        Count.too_much = 200
        try:
            models.rebuild(Rebuild(read_model="count"))
            await until(lambda: of(models, "count").state == "failed")
        finally:
            Count.too_much = None
        assert (of(models, "count").why, count.count) == ("ZeroDivisionError()", EVENTS)
        models.rebuild(Rebuild())
        await until(lambda: of(models, "count").state == "current")


@pytest.mark.parametrize("left", [False, True], ids=["an operator's is under way", "one was left"])
async def test_what_was_begun_with_a_key_that_is_gone_does_not_count(
    tmp_path: Path, store: MemoryEventStore, left: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    held, models, path = Held(store), ReadModels("memory"), tmp_path / "said.sqlite"
    with Sealed(path) as sealed:
        async for event in store.read_all():
            sealed.apply(event)
        if left:
            with sealed.fresh() as begun:
                begun.apply(event)
        models.add("said", Projector(held, sealed, name="test"), own=True)
        async with running(models):
            await models.whole()
            if not left:
                models.rebuild(Rebuild())
                await until(lambda: of(models, "said").events == 100)
            monkeypatch.setattr(Sealed, "key", False)
            held.go.set()
            assert await models.rebuild_all()
            assert sealed.said == {"$erased"}
            assert of(models, "said").state == "current"


async def test_an_operators_rebuild_goes_on_with_what_was_left(tmp_path: Path, store: MemoryEventStore) -> None:
    models, path = ReadModels("memory"), tmp_path / "said.sqlite"
    with Sealed(path) as sealed:
        models.add("said", Projector(store, sealed, name="test"), own=True)
        async with running(models):
            await models.whole()
            with sealed.fresh() as begun:
                async for event in store.read_all(until=200 << 8):
                    begun.apply(event)
            models.rebuild(Rebuild())
            await until(lambda: of(models, "said").state == "current")
            assert of(models, "said").events == EVENTS - 200


@pytest.mark.parametrize(("error", "states"), [(StoreUnavailable("reading"), ["current"]), (KeyError(), ["failed"])])
async def test_a_log_that_is_away_is_waited_for_and_other_errors_are_shown(
    store: MemoryEventStore, error: Exception, states: list[str]
) -> None:
    class Away(Held):
        errors: ClassVar[list[Exception]] = []

        async def last_position(self, category: str | None = None) -> int:
            if self.errors:
                raise self.errors.pop()
            return await super().last_position(category)

    held, models, count = Away(store), ReadModels("tool"), Count()
    held.go.set()
    models.add("count", Projector(held, count, name="test"), own=True)
    async with running(models):
        await models.whole()
        held.errors.append(error)
        models.rebuild(Rebuild())
        await until(lambda: of(models, "count").state != "rebuilding")
        assert [model.state for model in models.status] == states


def test_one_that_is_not_there_is_named() -> None:
    models = ReadModels("tool")
    models.add("catalog", Projector(MemoryEventStore(), Count(), name="test"), own=True)
    with pytest.raises(Invalid, match="no read model 'nope'; it has catalog"):
        models.rebuild(Rebuild(read_model="nope"))
