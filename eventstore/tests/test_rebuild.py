"""Read models are rebuilt beside the one that serves, whatever happens meanwhile."""

import asyncio
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie_contracts.envelope import Recorded
from dominie_eventstore import InMemory, MemoryEventStore, Projection, Projector, SqlProjection
from dominie_eventstore.conformance import draft, stream

pytestmark = pytest.mark.anyio
WAIT_S = 30.0
EVENTS = 200


class Words(SqlProjection):
    """What was said, in order."""

    SCHEMA = "CREATE TABLE said (text TEXT NOT NULL)"
    SCHEMA_VERSION = 1

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        db.execute("INSERT INTO said VALUES (?)", (str(event.envelope.data["text"]),))

    @property
    def said(self) -> list[str]:
        return [text for (text,) in self.db.execute("SELECT text FROM said ORDER BY rowid")]


class LoudWords(Words):
    """The same in another schema, whose older files its queries cannot read."""

    SCHEMA = "CREATE TABLE said (text TEXT NOT NULL, loud TEXT NOT NULL)"
    SCHEMA_VERSION = 2

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        text = str(event.envelope.data["text"])
        db.execute("INSERT INTO said VALUES (?, ?)", (text, text.upper()))


class ReadingLoudWords(LoudWords):
    """One whose queries can read them."""

    READS_VERSIONS: ClassVar[frozenset[int]] = frozenset({1})


class Counts(InMemory):
    """How often each word was said."""

    def __init__(self) -> None:
        self.position = 0
        self.counts: Counter[str] = Counter()

    def apply(self, event: Recorded) -> None:
        self.counts.update([str(event.envelope.data["text"])])
        self.position = event.position


async def log(count: int = EVENTS) -> MemoryEventStore:
    store = MemoryEventStore()
    for number in range(count):
        await store.append(stream(), [draft(str(number))], expected_version=number)
    return store


def numbers(count: int) -> list[str]:
    return [str(number) for number in range(count)]


@asynccontextmanager
async def following(store: MemoryEventStore, projection: Projection) -> AsyncIterator[Projector]:
    projector = Projector(store, projection, name="test")
    async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
        running = group.create_task(projector.run())
        await projector.caught_up.wait()
        yield projector
        running.cancel()


async def until(there: Callable[[], bool]) -> None:
    """Let others go on until something is there."""
    async with asyncio.timeout(WAIT_S):
        while not there():  # noqa: ASYNC110 - a rebuild tells nobody of each event
            await asyncio.sleep(0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words.db"


@pytest.fixture
async def store() -> MemoryEventStore:
    return await log()


async def built(path: Path, store: MemoryEventStore) -> None:
    with Words(path) as words:
        async with following(store, words):
            pass


async def test_the_old_one_serves_and_follows_until_the_new_one_takes_its_place(
    path: Path, store: MemoryEventStore
) -> None:
    with Words(path) as words:
        async with following(store, words) as projector, asyncio.TaskGroup() as group:
            words.db.execute("UPDATE said SET text = 'wrong'")
            rebuilding = group.create_task(projector.rebuild())
            await until(lambda: projector.build.events >= 32 and not projector.build.done)
            appended = await store.append(stream(), [draft("new")], expected_version=EVENTS)
            await projector.wait_for(appended.position, WAIT_S)
            assert not rebuilding.done()
            assert words.said == ["wrong"] * EVENTS + ["new"]
            build = await rebuilding
            assert words.said == [*numbers(EVENTS), "new"]
            assert (build.done, build.fraction, build.events) == (True, 1.0, EVENTS + 1)
            await store.append(stream(), [draft("last")], expected_version=EVENTS + 1)
            await projector.wait_for(await store.last_position(), WAIT_S)
            assert words.said == [*numbers(EVENTS), "new", "last"]
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_its_progress_is_told(store: MemoryEventStore) -> None:
    counts = Counts()
    async with following(store, counts) as projector, asyncio.TaskGroup() as group:
        group.create_task(projector.rebuild())
        await until(lambda: projector.build.events == 64)
        assert projector.build.fraction == pytest.approx(64 / EVENTS)
        assert projector.build.left_s >= 0
        await until(lambda: projector.build.done)
        assert projector.build.rate_per_s == pytest.approx(EVENTS / projector.build.seconds)


@settings(max_examples=60, deadline=None)
@given(before=st.integers(0, 80), during=st.lists(st.integers(0, 6), max_size=12))
async def test_whatever_is_written_meanwhile_is_there_once(before: int, during: list[int]) -> None:
    store, counts, words = await log(before), Counts(), Words()
    async with following(store, counts) as one, following(store, words) as other, asyncio.TaskGroup() as group:
        group.create_task(one.rebuild())
        group.create_task(other.rebuild())
        written = before
        for turns in during:
            for _ in range(turns):
                await asyncio.sleep(0)
            await store.append(stream(), [draft(str(written))], expected_version=written)
            written += 1
        await until(lambda: one.build.done and other.build.done)
        for projector in (one, other):
            await projector.wait_for(await store.last_position(), WAIT_S)
        assert counts.counts == Counter(numbers(written))
        assert words.said == numbers(written)
    words.close()


async def test_one_that_fails_leaves_the_one_that_serves(path: Path, store: MemoryEventStore) -> None:
    class Failing(Words):
        fails: ClassVar[bool] = False

        def project(self, db: sqlite3.Connection, event: Recorded) -> None:
            if self.fails and event.envelope.data["text"] == "150":
                raise ZeroDivisionError
            super().project(db, event)

    with Failing(path) as words:
        async with following(store, words) as projector:
            Failing.fails = True
            with pytest.raises(ZeroDivisionError):
                await projector.rebuild()
            assert isinstance(projector.build.error, ZeroDivisionError)
            assert words.said == numbers(EVENTS)
            Failing.fails = False
            await projector.rebuild()
            assert words.said == numbers(EVENTS)


@pytest.mark.parametrize("anew", [False, True])
async def test_what_was_left_is_gone_on_with_unless_it_is_to_be_built_anew(
    path: Path, store: MemoryEventStore, anew: bool
) -> None:
    with Words(path) as words:
        async with following(store, words) as projector:
            with words.fresh() as begun:
                async for event in store.read_all(until=50 << 8):
                    begun.apply(event)
                begun.db.execute("UPDATE said SET text = 'left'")
            assert words.unfinished
            build = await projector.rebuild(anew=anew)
            assert words.said == (numbers(EVENTS) if anew else ["left"] * 50 + numbers(EVENTS)[50:])
            assert (build.events, build.fraction) == (EVENTS if anew else EVENTS - 50, 1.0)
    assert [file.name for file in path.parent.iterdir()] == [path.name]


async def test_another_version_is_built_beside_the_old_file(path: Path, store: MemoryEventStore) -> None:
    await built(path, store)
    with LoudWords(path) as words:
        projector = Projector(store, words, name="test")
        assert (words.outdated, projector.serves, words.said, words.position) == (True, False, [], 0)
        async with asyncio.timeout(WAIT_S), asyncio.TaskGroup() as group:
            running = group.create_task(projector.run())
            await until(lambda: projector.build.events >= 64)
            assert said_on_disk(path) == numbers(EVENTS)
            assert not projector.serves
            await projector.caught_up.wait()
            assert (words.said, words.outdated, projector.serves) == (numbers(EVENTS), False, True)
            running.cancel()
    assert said_on_disk(path, "loud") == numbers(EVENTS)


async def test_one_that_reads_the_old_file_serves_from_it(path: Path, store: MemoryEventStore) -> None:
    await built(path, store)
    with ReadingLoudWords(path) as words:
        projector = Projector(store, words, name="test")
        assert (projector.serves, words.said) == (True, numbers(EVENTS))
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            words.db.execute("DELETE FROM said")
        async with following(store, words):
            assert said_on_disk(path, "loud") == numbers(EVENTS)


async def test_an_interrupted_rebuild_goes_on_where_it_was(path: Path, store: MemoryEventStore) -> None:
    with Words(path) as words:
        async with following(store, words) as projector:
            rebuilding = asyncio.create_task(projector.rebuild())
            await until(lambda: projector.build.events >= 96 and not projector.build.done)
            rebuilding.cancel()
            await asyncio.wait([rebuilding])
            taken = projector.build.events
    with Words(path) as words:
        assert (words.unfinished, words.said) == (True, numbers(EVENTS))
        async with following(store, words) as projector:
            assert projector.unfinished
            build = await projector.rebuild()
            assert (build.events, words.said) == (EVENTS - taken, numbers(EVENTS))
        assert not words.unfinished


CHILD = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_rebuild import LoudWords, Projector, log

async def main():
    words = LoudWords(Path(sys.argv[1]))
    store, told = await log(3000), 0
    become = words.become
    def slowly(built):
        print("switching", flush=True)
        become(built)
        print("switched", flush=True)
    words.become = slowly
    projector = Projector(store, words, name="child")
    running = asyncio.create_task(projector.run())
    while not running.done():
        if projector.build.events >= told:
            print(projector.build.events, flush=True)
            told += int(sys.argv[2])
        await asyncio.sleep(0)

asyncio.run(main())
"""


@pytest.mark.parametrize("at", ["500", "1500", "2500", "switching", "switched"])
async def test_a_process_that_is_killed_leaves_the_old_file_or_the_new_one(path: Path, at: str) -> None:
    store = await log(3000)
    await built(path, store)
    kill_a_rebuild(path, at=at)
    with closing(sqlite3.connect(path)) as db:
        (version,) = db.execute("PRAGMA user_version").fetchone()
    column = {1: "text", 2: "loud"}[version]
    assert said_on_disk(path, column) == numbers(3000)
    assert version == 2 or at != "switched"
    with LoudWords(path) as words:
        async with following(store, words):
            assert words.said == numbers(3000)


def kill_a_rebuild(path: Path, *, at: str) -> None:
    """Begin one in a process of its own, which is killed when it says a word, or has come so far."""
    arguments = [sys.executable, "-c", CHILD, str(path), "500", str(Path(__file__).parent)]
    child = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        for line in child.stdout:
            if line.strip() == at or (line.strip().isdigit() and at.isdigit() and int(line) >= int(at)):
                break
    finally:
        child.kill()
        child.wait(WAIT_S)
        child.stdout.close()


def said_on_disk(path: Path, column: str = "text") -> list[str]:
    with closing(sqlite3.connect(path)) as db:
        return [text for (text,) in db.execute(f"SELECT {column} FROM said ORDER BY rowid")]


async def test_what_has_come_is_stored_at_once(path: Path, store: MemoryEventStore) -> None:
    commits: list[str] = []
    with Words(path) as words:
        async with following(store, words) as projector:
            words.db.set_trace_callback(lambda said: commits.append(said) if said == "COMMIT" else None)
            for number in range(20):
                appended = await store.append(stream("2"), [draft("x")], expected_version=number)
            await projector.wait_for(appended.position, WAIT_S)
            assert (len(commits), words.position) == (1, appended.position)
            assert len(said_on_disk(path)) == EVENTS + 20


async def test_a_position_is_told_once_it_is_stored(path: Path, store: MemoryEventStore) -> None:
    with Words(path) as words:
        words.hold()
        async for event in store.read_all():
            words.apply(event)
        assert words.position == 0
        words.release()
        assert words.position == await store.last_position()


async def test_what_cannot_be_stored_ends_it(path: Path, store: MemoryEventStore) -> None:
    class Full(Words):
        def release(self) -> None:
            if self.said[-1:] == ["full"]:
                raise sqlite3.OperationalError("database or disk is full")
            super().release()

    with Full(path) as words:
        await store.append(stream(), [draft("full")], expected_version=EVENTS)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            async with asyncio.timeout(WAIT_S):
                await Projector(store, words, name="test").run()
        words.db.execute("ROLLBACK")
