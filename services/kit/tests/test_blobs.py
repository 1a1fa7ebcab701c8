"""Where artifacts are kept: the same on a real broker as in memory; and a broker that is away is said so."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nats.aio.msg import Msg
from pydantic_core import from_json, to_json

from dominie_contracts import Unavailable
from dominie_contracts.artifact import CHUNK_BYTES
from dominie_contracts.subjects import any_manifest, chunk_subject, manifest_subject
from dominie_kit.blobs import Shelf, StreamBlobs, provision_artifacts
from dominie_kit.bus import Inner
from dominie_kit.handler_testing import MemoryBlobs
from dominie_kit.settings import KitSettings
from dominie_kit.testing import House, house

pytestmark = pytest.mark.anyio
ONE, OTHER = chunk_subject("acme", "k", "one"), chunk_subject("acme", "k", "other")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def rooms(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("house")) as found:
        yield found


class Theirs(StreamBlobs):
    """Put by the tool service and taken away by audit, with the rights that each has."""

    def __init__(self, tool: Inner, audit: Inner) -> None:
        super().__init__(audit.client)
        self._tool = StreamBlobs(tool.client)

    async def put(self, subject: str, body: bytes) -> None:
        await self._tool.put(subject, body)


@asynccontextmanager
async def theirs(rooms: House) -> AsyncIterator[Shelf]:
    settings = KitSettings(nats_url=rooms.url, keys=rooms.keys.path)
    tool, audit = Inner("tool", settings), Inner("audit", settings)
    for connection in (tool, audit):
        await connection.open()
    try:
        yield Theirs(tool, audit)
    finally:
        for connection in (tool, audit):
            await connection.close()


@pytest.fixture(params=["memory", "broker"])
async def shelf(request: pytest.FixtureRequest, rooms: House) -> AsyncIterator[Shelf]:
    async with theirs(rooms) as stream:
        found: Shelf = MemoryBlobs() if request.param == "memory" else stream
        yield found
        await _clear(found)


async def _clear(found: Shelf) -> None:
    for subject in (await found.held()).subjects:
        blob = await found.get(subject)
        assert blob is not None and await found.remove(blob)


async def test_what_is_put_is_there_until_it_is_put_anew(shelf: Shelf) -> None:
    assert await shelf.get(ONE) is None
    for body in (b"x" * CHUNK_BYTES, b"", bytes(range(256))):
        await shelf.put(ONE, body)
        found = await shelf.get(ONE)
        assert found is not None and (found.subject, found.body) == (ONE, body)
        assert abs(datetime.now(UTC) - found.stored) < timedelta(minutes=1)
    assert (await shelf.held()).subjects == (ONE,)


async def test_one_is_found_by_a_pattern(shelf: Shelf) -> None:
    for run, key in (("r1", "k"), ("r2", "k"), ("r1", "k2")):
        await shelf.put(manifest_subject("acme", key, run, "name"), run.encode())
    await shelf.put(manifest_subject("abroad", "k", "r1", "name"), b"abroad")
    found = await shelf.get(any_manifest("acme", "name"))
    assert found is not None and found.subject == manifest_subject("acme", "k2", "r1", "name")
    assert await shelf.get(any_manifest("acme", "other")) is None


async def test_what_is_removed_is_gone_and_what_was_put_since_is_not(shelf: Shelf) -> None:
    await shelf.put(ONE, b"one")
    await shelf.put(OTHER, b"other")
    old = await shelf.get(ONE)
    assert old is not None
    await shelf.put(ONE, b"anew")
    assert not await shelf.remove(old)
    new = await shelf.get(ONE)
    assert new is not None and new.body == b"anew"
    assert await shelf.remove(new) and not await shelf.remove(new)
    held = await shelf.held()
    assert (held.subjects, await shelf.get(ONE)) == ((OTHER,), None) and held.size > 0


async def test_to_provision_again_changes_nothing(rooms: House) -> None:
    async with theirs(rooms) as blobs:
        await blobs.put(ONE, b"one")
        await provision_artifacts(rooms.operator.client, replicas=1)
        found = await blobs.get(ONE)
        assert found is not None and found.body == b"one" and await blobs.remove(found)


async def test_a_broker_that_is_away_is_said_so(tmp_path: Path) -> None:
    async with house(tmp_path) as rooms, theirs(rooms) as blobs:
        rooms.broker.stop()
        for asked in (blobs.put(ONE, b"one"), blobs.get(ONE), blobs.held()):
            with pytest.raises(Unavailable, match="store of artifacts does not answer"):
                await asked


class Paging:
    """A broker that names two subjects at once, in their order; something happens after the first page."""

    def __init__(self, subjects: list[str], then: Callable[["Paging"], None]) -> None:
        self.subjects, self.last, self._then = subjects, len(subjects), then

    def remove(self) -> None:
        del self.subjects[0]

    def put(self) -> None:
        self.subjects.append("art.z")
        self.last += 1

    def put_anew(self) -> None:
        self.last += 1

    async def request(self, subject: str, body: bytes, timeout: float) -> Msg:  # noqa: ASYNC109 - as nats-py has it
        asked = from_json(body)
        state = {"last_seq": self.last, "messages": len(self.subjects), "bytes": 9}
        if "offset" not in asked:
            return Msg(None, data=to_json({"state": state}))  # type: ignore[arg-type]  # of no client
        page = self.subjects[asked["offset"] :][:2]
        said = {"state": {**state, "subjects": dict.fromkeys(page, 1)}, "total": len(self.subjects)}
        if asked["offset"] == 0:
            self._then(self)
        return Msg(None, data=to_json(said))  # type: ignore[arg-type]  # of no client


def nothing(broker: Paging) -> None:
    """Nothing happens."""


@pytest.mark.parametrize(
    ("count", "then", "steady"),
    [
        (5, nothing, True),
        (5, Paging.remove, False),
        (5, Paging.put, False),
        (5, Paging.put_anew, False),
        (2, Paging.put_anew, True),
    ],
)
async def test_a_list_of_several_pages_says_whether_something_changed(
    count: int, then: Callable[[Paging], None], steady: bool
) -> None:
    subjects = [f"art.{number}" for number in range(count)]
    broker = Paging(list(subjects), then)
    held = await StreamBlobs(broker).held()  # type: ignore[arg-type]  # stands for a client
    assert held.steady == steady
    assert set(subjects) <= set(held.subjects) or not steady
