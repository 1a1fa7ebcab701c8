"""Read models in SQLite."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from dominie_contracts.envelope import Recorded
from dominie_eventstore import MemoryEventStore, Projector, SqlProjection
from dominie_eventstore.conformance import draft, stream

pytestmark = pytest.mark.anyio
WAIT_S = 30.0


class Words(SqlProjection):
    """What was said, in order."""

    SCHEMA = "CREATE TABLE said (text TEXT NOT NULL)"
    SCHEMA_VERSION = 1

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        text = str(event.envelope.data["text"])
        db.execute("INSERT INTO said VALUES (?)", (text,))
        if text == "boom":
            raise ZeroDivisionError

    @property
    def said(self) -> list[str]:
        return [text for (text,) in self.db.execute("SELECT text FROM said ORDER BY rowid")]


class NewWords(Words):
    """The same in another schema."""

    SCHEMA = "CREATE TABLE said (text TEXT NOT NULL, length INTEGER)"
    SCHEMA_VERSION = 2

    def project(self, db: sqlite3.Connection, event: Recorded) -> None:
        db.execute("INSERT INTO said VALUES (?, 1)", (str(event.envelope.data["text"]),))


async def log(*texts: str) -> MemoryEventStore:
    store = MemoryEventStore()
    for number, text in enumerate(texts):
        await store.append(stream(), [draft(text)], expected_version=number)
    return store


async def catch_up(store: MemoryEventStore, words: SqlProjection) -> None:
    projector = Projector(store, words, name="test")
    ready, running = asyncio.ensure_future(projector.caught_up.wait()), asyncio.ensure_future(projector.run())
    async with asyncio.timeout(WAIT_S):
        await asyncio.wait([ready, running], return_when=asyncio.FIRST_COMPLETED)
    for task in (ready, running):
        task.cancel()
    await asyncio.wait([ready, running])
    if not running.cancelled():
        running.result()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "words.db"


def spoil(path: Path, content: bytes | None = None) -> None:
    """Write nonsense into a file: all of it, or what follows its first pages."""
    whole = path.read_bytes() if content is None else b""
    path.write_bytes(content or whole[:8192] + b"\xff" * (len(whole) - 8192))


def said_on_disk(path: Path) -> list[str]:
    db = sqlite3.connect(path)
    try:
        return [text for (text,) in db.execute("SELECT text FROM said ORDER BY rowid")]
    finally:
        db.close()


async def test_it_goes_on_after_it_was_closed(path: Path) -> None:
    store = await log("a", "b")
    with Words(path) as words:
        await catch_up(store, words)
    await store.append(stream(), [draft("c")], expected_version=2)

    with Words(path) as words:
        assert words.position == (2 << 8)
        await catch_up(store, words)
        assert (words.said, words.position) == (["a", "b", "c"], 3 << 8)


async def test_live_events_are_committed_one_by_one(path: Path) -> None:
    store = await log("a", "b")
    events = [event async for event in store.read_all()]
    with Words(path) as words:
        for count, event in enumerate(events, 1):
            words.apply(event)
            assert len(said_on_disk(path)) == count


async def test_many_events_are_committed_together(path: Path) -> None:
    store = await log(*"abcdef")
    events = [event async for event in store.read_all()]
    with Words(path) as words:
        words.hold()
        for event in events:
            words.apply(event)
        assert said_on_disk(path) == []
        assert words.said == list("abcdef")
        words.release()
        assert said_on_disk(path) == list("abcdef")


async def test_the_position_is_stored_with_what_it_stands_for(path: Path) -> None:
    store = await log("a", "b", "boom")
    with Words(path) as words:
        with pytest.raises(ZeroDivisionError):
            await catch_up(store, words)
        assert words.position == 0
        assert words.said == []

    with Words(path) as words:
        for event in [event async for event in store.read_all()][:2]:
            words.apply(event)
        with pytest.raises(ZeroDivisionError):
            words.apply([event async for event in store.read_all()][2])
        assert (words.said, words.position) == (["a", "b"], 2 << 8)


async def test_a_killed_process_leaves_a_whole_batch_or_none(path: Path) -> None:
    store = await log("a", "b")
    words = Words(path)
    words.hold()
    for event in [event async for event in store.read_all()]:
        words.apply(event)
    words.db.close()  # as if it had been killed: nothing was committed

    with Words(path) as words:
        assert words.position == 0
        await catch_up(store, words)
        assert words.said == ["a", "b"]


async def test_another_schema_version_starts_anew(path: Path) -> None:
    store = await log("a", "b")
    with Words(path) as words:
        await catch_up(store, words)

    with NewWords(path) as words:
        assert (words.position, words.said) == (0, [])
        await catch_up(store, words)
        assert words.said == ["a", "b"]


@pytest.mark.parametrize("content", [b"not a database" * 1000, b"x"])
async def test_a_broken_file_starts_anew(path: Path, content: bytes) -> None:
    spoil(path, content)

    with Words(path) as words:
        await catch_up(await log("a"), words)
        assert words.said == ["a"]


async def test_a_file_that_turns_out_broken_is_thrown_away(path: Path) -> None:
    store = await log(*(f"{number} " * 200 for number in range(60)))
    with Words(path) as words:
        await catch_up(store, words)
    spoil(path)
    await store.append(stream(), [draft("new")], expected_version=60)

    with Words(path) as words:
        with pytest.raises(sqlite3.DatabaseError, match="malformed"):
            await catch_up(store, words)
        await catch_up(store, words)
        assert len(words.said) == 61


async def test_a_foreign_database_is_not_deleted(path: Path) -> None:
    db = sqlite3.connect(path)
    db.executescript("CREATE TABLE checkpoint (mine)")
    db.close()

    with pytest.raises(sqlite3.OperationalError, match="already exists"):
        Words(path)


async def test_one_in_memory() -> None:
    with Words() as words:
        await catch_up(await log("a"), words)
        assert words.said == ["a"]
        words.reset()
        assert (words.said, words.position) == ([], 0)
