"""Artifacts: what is put comes back whole or not at all, to the run that holds it and nobody else."""

from collections import Counter
from collections.abc import Callable
from datetime import timedelta

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie_contracts import Conflict, Forbidden, Invalid, Problem
from dominie_contracts.artifact import CHUNK_BYTES, Manifest, Reference, holder
from dominie_kit.artifacts import FRESH_FOR, Artifacts, Holding
from dominie_kit.blobs import Blob
from dominie_kit.handler_testing import Keys, MemoryBlobs
from dominie_kit.personal.sealing import PersonKey

pytestmark = pytest.mark.anyio
KEYS = Keys()
SIZES = st.sampled_from([0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]) | st.integers(
    0, 400_000
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def holding(user: str = "u-dana", run: str = "r-1", *, tenant: str = "acme", agent: str = "a-desk") -> Holding:
    return Holding(PersonKey.of(tenant, KEYS.of(tenant, user)), holder(tenant, agent, run))


def content(size: int, seed: int = 0) -> bytes:
    """Bytes whose chunks differ."""
    return b"".join((at + seed).to_bytes(4) for at in range(-(-size // 4)))[:size]


async def keep(artifacts: Artifacts, data: bytes, where: Holding) -> Reference:
    chunks = [await artifacts.put(where, data[at : at + CHUNK_BYTES]) for at in range(0, len(data), CHUNK_BYTES)]
    return await artifacts.keep(where, chunks, "text/plain")


async def read(artifacts: Artifacts, found: Reference, where: Holding) -> bytes:
    artifact = await artifacts.find(where, found.name)
    return b"".join([chunk async for chunk in artifacts.chunks(artifact)])


@settings(max_examples=25)
@given(SIZES)
async def test_what_is_kept_comes_back_and_is_sealed(size: int) -> None:
    blobs, data = MemoryBlobs(), content(size)
    artifacts = Artifacts(blobs)
    found = await keep(artifacts, data, holding())
    assert (found.size, await read(artifacts, found, holding())) == (size, data)
    assert len(blobs.kept) == -(-size // CHUNK_BYTES) + 1
    assert not any(data[:64] in blob.body for blob in blobs.kept.values()) or size < 64
    assert await keep(artifacts, data, holding()) == found, "the same bytes are the same artifact"


async def test_a_name_says_nothing_to_who_has_not_the_key() -> None:
    artifacts, data = Artifacts(MemoryBlobs()), content(200_000)
    mine, elsewhere, theirs = [
        await keep(artifacts, data, where) for where in (holding(), holding(run="r-2"), holding("u-erin"))
    ]
    abroad = await keep(artifacts, data, holding(tenant="abroad"))
    assert mine == elsewhere
    assert len({mine.name, theirs.name, abroad.name}) == 3


@pytest.mark.parametrize(
    "other",
    [holding(run="r-2"), holding(agent="a-other"), holding("u-erin"), holding(tenant="abroad")],
    ids=["run", "agent", "user", "tenant"],
)
async def test_another_holds_nothing(other: Holding) -> None:
    artifacts = Artifacts(MemoryBlobs())
    found = await keep(artifacts, content(10), holding())
    with pytest.raises(Forbidden, match="holds no artifact"):
        await artifacts.find(other, found.name)
    with pytest.raises(Forbidden):
        await artifacts.accept(other, [found])


async def test_a_run_holds_what_it_adopts() -> None:
    artifacts, fork = Artifacts(MemoryBlobs()), holding(run="r-fork")
    found = await keep(artifacts, content(10), holding())
    await artifacts.adopt(fork, holding(), [found])
    assert await read(artifacts, found, fork) == content(10)
    with pytest.raises(Forbidden):
        await artifacts.adopt(fork, holding(run="r-none"), [found])


Damage = Callable[[MemoryBlobs, list[str], str], None]


def cut(blobs: MemoryBlobs, chunks: list[str], manifest: str) -> None:
    blobs.kept[chunks[1]] = blobs.kept[chunks[1]]._replace(body=blobs.kept[chunks[1]].body[:-1])


def swapped(blobs: MemoryBlobs, chunks: list[str], manifest: str) -> None:
    one, two = (blobs.kept[chunk].body for chunk in chunks[:2])
    blobs.kept[chunks[0]] = blobs.kept[chunks[0]]._replace(body=two)
    blobs.kept[chunks[1]] = blobs.kept[chunks[1]]._replace(body=one)


def flipped(blobs: MemoryBlobs, chunks: list[str], manifest: str) -> None:
    body = bytearray(blobs.kept[chunks[2]].body)
    body[40] ^= 1
    blobs.kept[chunks[2]] = blobs.kept[chunks[2]]._replace(body=bytes(body))


def gone(blobs: MemoryBlobs, chunks: list[str], manifest: str) -> None:
    del blobs.kept[chunks[2]]


def reordered(blobs: MemoryBlobs, chunks: list[str], manifest: str) -> None:
    found = Manifest.model_validate_json(blobs.kept[manifest].body)
    other = found.model_copy(update={"chunks": found.chunks[::-1]})
    blobs.kept[manifest] = blobs.kept[manifest]._replace(body=other.model_dump_json().encode())


def truncated(blobs: MemoryBlobs, chunks: list[str], manifest: str) -> None:
    found = Manifest.model_validate_json(blobs.kept[manifest].body)
    other = found.model_copy(update={"chunks": found.chunks[:-1]})
    blobs.kept[manifest] = blobs.kept[manifest]._replace(body=other.model_dump_json().encode())


@pytest.mark.parametrize("damage", [cut, swapped, flipped, gone, reordered, truncated])
async def test_damage_is_found(damage: Damage) -> None:
    blobs = MemoryBlobs()
    artifacts = Artifacts(blobs)
    found = await keep(artifacts, content(3 * CHUNK_BYTES), holding())
    assert len(await read(artifacts, found, holding())) == 3 * CHUNK_BYTES
    damage(blobs, [name for name in blobs.kept if ".c." in name], holding().manifest(found.name))
    with pytest.raises(Conflict, match="digest differs") as raised:
        await read(artifacts, found, holding())
    assert raised.value.extra["reason"] == "digest-differs"


async def refusal(artifacts: Artifacts, chunks: list[str]) -> Problem:
    with pytest.raises(Invalid) as raised:
        await artifacts.keep(holding(), chunks, "text/plain")
    return raised.value


async def test_what_was_not_put_or_does_not_fit_is_refused_and_nothing_is_kept() -> None:
    blobs = MemoryBlobs()
    artifacts = Artifacts(blobs, max_bytes=3 * CHUNK_BYTES - 1)
    whole, short = [await artifacts.put(holding(), content(size)) for size in (CHUNK_BYTES, 10)]
    theirs = await artifacts.put(holding("u-erin"), content(20))
    assert (await refusal(artifacts, [whole, theirs])).extra == {"chunk": 1, "reason": "chunk-missing"}
    assert (await refusal(artifacts, [short, whole])).extra == {"chunk": 0, "reason": "chunk-out-of-order"}
    for size in (3, 4, 5):
        assert (await refusal(artifacts, [whole] * size)).extra["reason"] == "too-large"
    assert not [subject for subject in blobs.kept if ".m." in subject]
    for data in (b"", content(CHUNK_BYTES + 1)):
        with pytest.raises(Invalid, match="a chunk has"):
            await artifacts.put(holding(), data)


async def test_what_its_reference_does_not_say_is_refused() -> None:
    artifacts = Artifacts(MemoryBlobs())
    found = await keep(artifacts, content(10), holding())
    assert [each.reference for each in await artifacts.accept(holding(), [found])] == [found]
    for changed in (found.model_copy(update={"size": 11}), found.model_copy(update={"media_type": "application/json"})):
        with pytest.raises(Invalid, match="not what its reference says"):
            await artifacts.accept(holding(), [changed])


async def test_what_is_old_is_written_anew_before_an_event_refers_to_it() -> None:
    blobs = MemoryBlobs()
    artifacts = Artifacts(blobs)
    found = await keep(artifacts, content(300_000), holding())
    before = dict(blobs.kept)
    await artifacts.accept(holding(), [found])
    assert blobs.kept == before
    blobs.age(FRESH_FOR + timedelta(seconds=1))
    await artifacts.accept(holding(), [found])
    assert all(blobs.kept[subject].sequence > before[subject].sequence for subject in before)
    blobs.age(FRESH_FOR + timedelta(seconds=1))
    chunks = [subject.rpartition(".")[2] for subject in before if ".c." in subject]
    await artifacts.keep(holding(), chunks, "text/plain")
    assert all(blobs.kept[subject].sequence > 2 * len(before) for subject in before)


class Noting(MemoryBlobs):
    """Notes what it is asked for, and how many ask at once while it is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.written = Counter[str](), Counter[str]()
        self.waiting, self.most = 0, 0
        self.open = anyio.Event()
        self.open.set()

    async def put(self, subject: str, body: bytes) -> None:
        self.written[subject] += 1
        await super().put(subject, body)

    async def get(self, subject: str) -> Blob | None:
        self.asked[subject] += 1
        self.waiting += 1
        self.most = max(self.most, self.waiting)
        await self.open.wait()
        self.waiting -= 1
        return await super().get(subject)


async def test_what_is_named_often_is_asked_for_once() -> None:
    blobs = Noting()
    artifacts = Artifacts(blobs)
    chunk = await artifacts.put(holding(), content(CHUNK_BYTES))
    found = await artifacts.keep(holding(), [chunk] * 400, "text/plain")
    assert (blobs.asked, found.size) == (Counter({holding().chunk(chunk): 1}), 400 * CHUNK_BYTES)
    other = await artifacts.keep(holding(), [chunk] * 2, "text/plain")
    blobs.asked.clear()
    assert len(await artifacts.accept(holding(), [found, other] * 50)) == 2
    assert blobs.asked[holding().chunk(chunk)] == 1 and blobs.asked.total() <= 5
    blobs.written.clear()
    await artifacts.adopt(holding(run="r-fork"), holding(), [found] * 50)
    assert blobs.written.total() == 1


async def test_what_stands_often_is_in_memory_once() -> None:
    blobs = Noting()
    artifacts = Artifacts(blobs)
    found = await keep(artifacts, b"a long text", holding())
    blobs.asked.clear()
    loaded = await artifacts.load(holding(), {"a": [found.stand_in, {"deep": found.stand_in}], "b": found.stand_in})
    assert loaded == {"a": ["a long text", {"deep": "a long text"}], "b": "a long text"}
    assert set(blobs.asked.values()) == {1}


async def test_few_large_ones_are_looked_through_at_once_and_small_ones_do_not_wait() -> None:
    blobs = Noting()
    artifacts = Artifacts(blobs)
    large = await keep(artifacts, content(20 * CHUNK_BYTES), holding())
    chunk = await artifacts.put(holding(), content(10))
    blobs.open, blobs.most = anyio.Event(), 0
    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(artifacts.accept, holding(), [large])
            await anyio.wait_all_tasks_blocked()
            assert blobs.waiting == 2
            group.start_soon(artifacts.keep, holding(), [chunk], "text/plain")
            await anyio.wait_all_tasks_blocked()
            assert blobs.waiting == 3
            blobs.open.set()
    assert blobs.most == 3


async def test_who_comes_too_late_for_a_chunk_is_told_to_put_it_again() -> None:
    blobs = MemoryBlobs()
    artifacts = Artifacts(blobs)
    found = await keep(artifacts, content(300_000), holding())
    del blobs.kept[next(subject for subject in blobs.kept if ".c." in subject)]
    with pytest.raises(Invalid, match="put it again") as raised:
        await artifacts.accept(holding(), [found])
    assert raised.value.extra == {"artifact": found.name, "reason": "chunk-missing"}
    assert await keep(artifacts, content(300_000), holding()) == found
    assert await artifacts.accept(holding(), [found])
