"""Archived segments: what is written reads back, in a folder and in a bucket, and through the store."""

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client
from obstore.store import S3Store

from dominie_contracts import Draft, Recorded, StreamName
from dominie_contracts.envelope import pack_position
from dominie_eventstore import (
    Appended,
    CorruptEvent,
    EventStore,
    JetStreamEventStore,
    StoreUnavailable,
    WrongExpectedVersion,
    rolling,
)
from dominie_eventstore.archive import (
    BUNDLE,
    Archive,
    BlobMissing,
    Blobs,
    FolderBlobs,
    Index,
    IndexDraft,
    decode_bundle,
    encode_bundle,
    entries_path,
    open_blobs,
    segment_path,
)
from dominie_eventstore.conformance import EventStoreConformance, all_of, draft, stream, texts

pytestmark = pytest.mark.anyio
Clients = Callable[..., Awaitable[Client]]
WAIT_S = 30.0


async def archive(nc: Client, blobs: Blobs) -> None:
    """Write every sealed segment that is on the broker into the archive, and remove it there."""
    async with rolling(nc) as roller:
        segments = await roller.segments()
        store = JetStreamEventStore(nc, archive=Archive(blobs))
        events = [event async for event in store.read_all()]
        for segment in range(segments.first, segments.open):
            place = sum(event.position < pack_position(segment, 0, 0) for event in events)
            own = [event for event in events[place:] if event.position < pack_position(segment + 1, 0, 0)]
            write(blobs, segment, place, own, [event.raw for event in events])
            await roller.remove(segment)


def write(blobs: Blobs, segment: int, first: int, own: Sequence[Recorded], log: Sequence[bytes]) -> None:
    index, end = IndexDraft(segment, first), first + len(own)
    for event in own:
        index.add(event.position, event.stream)
    for number in range(first // BUNDLE, -(-end // BUNDLE)):
        bundle = log[number * BUNDLE : min(end, (number + 1) * BUNDLE)]
        blobs.put(entries_path(number, len(bundle)), encode_bundle(bundle), compressed=True)
    blobs.put(segment_path(segment), index.encode())


class Archives(JetStreamEventStore):
    """A store whose log rolls after every second append, and whose sealed segments are archived."""

    def __init__(self, nc: Client, blobs: Blobs) -> None:
        super().__init__(nc, archive=Archive(blobs))
        self._nc = nc
        self._blobs = blobs
        self._alone = asyncio.Lock()
        self._appends = 0

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        found = await super().append(stream, drafts, expected_version=expected_version, timeout_s=timeout_s)
        self._appends += 1
        if self._appends % 2 == 0:
            async with self._alone:
                async with rolling(self._nc) as roller:
                    await roller.roll()
                if self._appends % 4 == 0:
                    await archive(self._nc, self._blobs)
        return found


class TestArchive(EventStoreConformance):
    @pytest.fixture
    def store(self, nc: Client, tmp_path: Path) -> EventStore:
        return Archives(nc, FolderBlobs(tmp_path / "archive"))


@given(st.lists(st.binary(max_size=300) | st.sampled_from([b"x" * 65_534, b"y" * 65_535, b"z" * 70_000]), max_size=5))
def test_a_bundle_reads_back(events: list[bytes]) -> None:
    stored = encode_bundle(events)

    assert decode_bundle(stored) == events
    assert encode_bundle(events) == stored
    assert stored[4:8] == bytes(4), "a time would make other bytes of the same events"


@given(st.integers(1, 200))
def test_a_bundle_that_was_cut_is_none(cut: int) -> None:
    stored = encode_bundle([b"one", b"two" * 100, os.urandom(200)])

    with pytest.raises(ValueError, match=r"bundle|short"):
        decode_bundle(stored[:-cut])


def test_an_index_knows_streams_and_categories() -> None:
    made = IndexDraft(3, 700)
    for number, name in enumerate(("acme.tool.1", "acme.model.2", "acme.tool.1", "other.tool.1")):
        made.add(pack_position(3, number + 1, 0), name)
    index = Index(memoryview(made.encode()))

    assert (index.segment, index.first, index.events, index.streams) == (3, 700, 4, 3)
    assert list(index.of_stream("acme.tool.1")) == [0, 2]
    assert list(index.of_stream("acme.tool.2")) == []
    assert list(index.of_category("tool")) == [0, 2, 3]
    assert list(index.of_category("memory")) == []
    assert index.beyond(range(4), pack_position(3, 2, 0)) == 2


@pytest.mark.parametrize("bad", [b"", b"{}", b"x" * 100, b'{"segment": 1}\n'])
def test_what_is_no_index(bad: bytes) -> None:
    with pytest.raises(ValueError, match="index"):
        Index(memoryview(bad))


def test_an_index_that_was_cut_is_none() -> None:
    made = IndexDraft(0, 0)
    made.add(1 << 8, "acme.tool.1")

    with pytest.raises(ValueError, match="short"):
        Index(memoryview(made.encode()[:-1]))


async def filled(nc: Client, blobs: Blobs) -> list[Recorded]:
    """Three archived segments that share bundles, and an open one."""
    store = JetStreamEventStore(nc, archive=Archive(blobs))
    for number in range(4):
        for id in range(60):
            name = stream(f"{number}-{id}" if id else "long", category="tool" if id % 3 else "model")
            await store.append(name, [draft(str(id)), draft("x")], expected_version=0 if id else number * 2)
        if number < 3:
            async with rolling(nc) as roller:
                await roller.roll()
    before = await all_of(store)
    await archive(nc, blobs)
    return before


async def test_nothing_changes_for_a_reader(nc: Client, clients: Clients, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    before = await filled(nc, blobs)
    store = JetStreamEventStore(await clients(), archive=Archive(blobs))

    assert await all_of(store) == before
    assert len(before) > BUNDLE
    long = stream("long", category="model")
    assert await store.read(long) == [event for event in before if event.stream == str(long)]
    assert [event.envelope.version for event in await store.read(long, after_version=5)] == [6, 7, 8]
    assert len(await store.read(stream("1-7"))) == 2
    assert await all_of(store, "tool") == [event for event in before if ".tool." in event.stream]
    for event in before[::37]:
        assert await all_of(store, after=event.position - 1, until=event.position) == [event]
    assert await store.last_position("tool") == max(e.position for e in before if ".tool." in e.stream)


async def test_an_archived_append_is_not_done_again(nc: Client, clients: Clients, tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    drafts = [draft("once")]
    first = await JetStreamEventStore(nc).append(stream("first"), drafts, expected_version=0)
    await filled(nc, blobs)
    store = JetStreamEventStore(await clients(), archive=Archive(blobs))

    assert await store.append(stream("first"), drafts, expected_version=0) == first
    with pytest.raises(WrongExpectedVersion):
        await store.append(stream("first"), [draft("other")], expected_version=0)
    assert (await store.append(stream("first"), [draft("2")], expected_version=1)).version == 2


async def test_who_has_no_archive_writes_and_reads_nothing_it_cannot_know(
    nc: Client, clients: Clients, tmp_path: Path
) -> None:
    before = await filled(nc, FolderBlobs(tmp_path))
    for store in (
        JetStreamEventStore(await clients(), timeout_s=0.3),
        JetStreamEventStore(await clients(), archive=Archive(FolderBlobs(tmp_path / "elsewhere")), timeout_s=0.3),
    ):
        with pytest.raises(StoreUnavailable, match="archive"):
            await store.append(stream("new"), [draft()], expected_version=0)
        with pytest.raises(StoreUnavailable, match="archive"):
            await store.read(stream("long", category="model"))
        with pytest.raises(StoreUnavailable):
            await all_of(store)
        assert await all_of(store, after=pack_position(3, 0, 0)) == before[-120:]


async def test_damage_is_told(nc: Client, tmp_path: Path) -> None:
    await filled(nc, FolderBlobs(tmp_path))
    bundle = tmp_path / entries_path(0)
    bundle.write_bytes(bundle.read_bytes()[:-40])

    with pytest.raises(CorruptEvent, match="bundle"):
        await all_of(JetStreamEventStore(nc, archive=Archive(FolderBlobs(tmp_path))))


async def test_a_reader_of_a_segment_goes_on_when_it_is_archived(nc: Client, clients: Clients, tmp_path: Path) -> None:
    """It had read half of it from the broker."""
    blobs = FolderBlobs(tmp_path)
    store = JetStreamEventStore(nc, archive=Archive(blobs))
    for id in range(40):
        await store.append(stream(str(id)), [draft(str(id))], expected_version=0)
    reader = JetStreamEventStore(await clients(), archive=Archive(blobs))
    seen: list[Recorded] = []

    async with asyncio.timeout(WAIT_S), aclosing(reader.subscribe("test")) as following:
        async for event in following:
            seen.append(event)
            if len(seen) == 20:
                async with rolling(nc) as roller:
                    await roller.roll()
                await archive(nc, blobs)
                await store.append(stream("last"), [draft("last")], expected_version=0)
            if len(seen) == 41:
                break

    assert texts(seen) == [*(str(id) for id in range(40)), "last"]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A bucket of a real S3 server on loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("s3")
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + WAIT_S
        while True:
            try:
                httpx.put(f"{url}/events").raise_for_status()
                break
            except httpx.TransportError:
                assert time.monotonic() < end and server.poll() is None, (folder / "log").read_text()
                time.sleep(0.05)
        yield url
    finally:
        server.terminate()
        server.wait(10)


@pytest.fixture
def s3(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Blobs:
    settings = {"AWS_ENDPOINT_URL": bucket, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    for name, value in (settings | {"AWS_ALLOW_HTTP": "true", "AWS_REGION": "us-east-1"}).items():
        monkeypatch.setenv(name, value)
    return open_blobs("s3://events/log", cache=tmp_path / "cache")


async def test_the_archive_can_be_a_bucket(nc: Client, clients: Clients, s3: Blobs) -> None:
    before = await filled(nc, s3)

    store = JetStreamEventStore(await clients(), archive=Archive(s3))
    assert await all_of(store) == before
    assert len(await store.read(stream("1-7"))) == 2
    found = await S3Store.from_url("s3://events/log").get_async(entries_path(0))
    assert found.attributes["Content-Encoding"] == "gzip"
    assert decode_bundle((await found.bytes_async()).to_bytes())[0] == before[0].raw


def test_all_that_an_archive_has_is_listed_and_read_in_pieces(s3: Blobs, tmp_path: Path) -> None:
    for blobs in (s3, FolderBlobs(tmp_path / "folder")):
        known = {name: size for name, size in blobs.sizes() if not name.startswith("large/")}
        blobs.put("large/one", os.urandom(5 << 20))
        blobs.put("large/two/three", b"3", compressed=True)
        assert dict(blobs.sizes()) == known | {"large/one": 5 << 20, "large/two/three": 1}
        pieces = list(blobs.pieces("large/one"))
        assert len(pieces) > 1 and b"".join(pieces) == blobs.get("large/one")
        with pytest.raises(BlobMissing, match="nothing"):
            next(blobs.pieces("nothing"))
    assert list(FolderBlobs(tmp_path / "nowhere").sizes()) == []


def test_what_a_bucket_does_not_have(s3: Blobs) -> None:
    with pytest.raises(BlobMissing, match="nothing"):
        s3.get("nothing")
    with pytest.raises(BlobMissing, match="nothing"):
        s3.mapped("nothing")


@pytest.mark.parametrize("place", ["http://example.com/x", "s3://"])
def test_what_is_no_place_for_an_archive(place: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bucket"):
        open_blobs(place, cache=tmp_path)
