"""Sealed segments are archived, checked there against a signed checkpoint, and only then removed; nobody notices."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from dominie.merkle import leaf_hash
from dominie.notes import Checkpoint
from dominie_audit import build
from dominie_audit.adapters.archive import ArchiveDiffers, Archiver
from dominie_audit.adapters.archive.recomputed import Recomputed
from dominie_audit.adapters.tlog.published import Own, Published
from dominie_audit.adapters.tlog.tiles import Tiles
from dominie_audit.adapters.tlog.tree import Tree
from dominie_audit.app import origin_of
from dominie_audit.settings import Settings
from dominie_contracts import Command, Conflict, Draft, Recorded, StreamName
from dominie_contracts.audit import (
    ArchiveSegment,
    ArchiveState,
    Entries,
    InclusionProof,
    LogReport,
    Prove,
    Trail,
    VerifyLog,
)
from dominie_eventstore import EventStore, JetStreamEventStore, rolling
from dominie_eventstore.archive import (
    Archive,
    Blobs,
    FolderBlobs,
    IndexDraft,
    decode_bundle,
    encode_bundle,
    entries_path,
    segment_path,
)
from dominie_kit import Context, Service
from dominie_kit.bus import Inner
from dominie_kit.context import deadline_in
from dominie_kit.errors import ArchiveFailed
from dominie_kit.house.segments import Limits, SegmentKeeper
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.testing import House, house, serving

pytestmark = pytest.mark.anyio
EVENTS = 300


@dataclass
class Place:
    """A house with a log of one run, some events of it in the open segment."""

    house: House
    settings: Settings

    @property
    def archive(self) -> Path:
        return self.settings.state / "archive"

    async def append(self, first: int, count: int) -> None:
        tool = Inner("tool", self.settings)
        await tool.open()
        store = JetStreamEventStore(tool.client, archive=Archive(FolderBlobs(self.archive)))
        for number in range(first, first + count):
            await store.append(StreamName("acme", "tool", f"a{number}"), [draft(number)], expected_version=0)
        await tool.close()


def draft(number: int) -> Draft:
    return Draft(
        id=str(number),
        source="dominie/tool",
        type="tool.unknown.v1",
        time=datetime.now(UTC),
        actor="a-desk",
        data=f'{{"why": "number {number}"}}',
        correlation_id="r-1",
    )


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with house(tmp_path) as acme:
        found = Place(acme, Settings(nats_url=acme.url, keys=acme.keys.path, state=tmp_path / "state"))
        await found.append(0, EVENTS)
        yield found


async def asked(service: Service, command: Command) -> object:
    route = next(route for route in service.routes if route.command is type(command))
    context = Context(tenant="acme", principal="u-ada", key="k", deadline=deadline_in(10), groups=("auditors",))
    return await route.handler(command, context)


async def until_archived(archiver: Archiver, segment: int) -> ArchiveState:
    """Ask until it is done, or failed."""
    context = Context(tenant="svc", principal="operator", key="k", deadline=deadline_in(10))
    await archiver.answer(ArchiveSegment(segment=segment), context)
    with anyio.fail_after(30):
        while True:
            found = await archiver.answer(ArchiveSegment(), context)
            if found.under_way is None:
                return found
            await anyio.sleep(0.02)


async def roll(place: Place) -> None:
    async with rolling(place.house.operator.client) as roller:
        await roller.roll()


async def test_a_sealed_segment_is_archived_and_everything_goes_on(place: Place) -> None:
    async with serving(build(place.settings)) as service:
        before = [event async for event in service.log.read_all()]
        async with rolling(place.house.operator.client) as roller:
            keeper = SegmentKeeper(roller, place.house.operator)  # type: ignore[arg-type]  # a peer asks as the operator does
            for segment in range(2):
                assert await keeper.roll(None)
                assert await keeper.archive_all(lambda _: None, 30) == 1
                await place.append(EVENTS * (segment + 1), EVENTS)
            view = await keeper.view()
        assert [each.state for each in view.segments] == ["archived", "archived", "open"]
        assert [each.events or each.appends for each in view.segments] == [EVENTS] * 3

        after = [event async for event in service.log.read_all()]
        assert after[:EVENTS] == before
        assert len(after) == EVENTS * 3
        await everything_holds(service, after)
        check_files(place, after)
    async with serving(build(place.settings)) as again:
        await everything_holds(again, after)


async def everything_holds(service: Service, events: list[Recorded]) -> None:
    report = await asked(service, VerifyLog())
    assert isinstance(report, LogReport)
    assert (report.ok, report.events) == (True, len(events))
    trail = await asked(service, Trail(run="r-1"))
    assert isinstance(trail, Entries)
    assert len(trail.entries) == len(events)
    proof = await asked(service, Prove(position=events[7].position))
    assert isinstance(proof, InclusionProof)
    assert proof.index == 7


def check_files(place: Place, events: list[Recorded]) -> None:
    """A stranger finds all that is needed: the checkpoint, the hashes it is over, and the events they are of."""
    blobs = FolderBlobs(place.archive)
    published = Published(place.settings.state / "audit" / "tlog", own(place).published.key)
    checkpoint = Checkpoint.open(blobs.get("checkpoint").decode(), published.key)
    whole = decode_bundle(blobs.get(entries_path(0))) + decode_bundle(blobs.get(entries_path(1)))
    assert whole == [event.raw for event in events[:512]]
    assert checkpoint.size >= EVENTS * 2
    stored = blobs.get("tile/0/000")
    assert stored == b"".join(leaf_hash(raw) for raw in whole[:256])


def own(place: Place) -> Own:
    return Own.open(place.settings.state / "audit", origin_of(KeyFolder(place.settings.keys)))


class Bent(FolderBlobs):
    """A disk that changes a byte of what is put on it, or is full."""

    def __init__(self, folder: Path, *, fault: str) -> None:
        super().__init__(folder)
        self.fault: str | None = fault

    def put(self, name: str, data: bytes, *, compressed: bool = False) -> None:
        if self.fault == "full" and name == entries_path(1, EVENTS - 256):
            raise OSError(28, "No space left on device")
        if self.fault == "bent" and name == entries_path(0):
            data = encode_with(data)
        super().put(name, data, compressed=compressed)


def encode_with(stored: bytes) -> bytes:
    first, *others = decode_bundle(stored)
    return encode_bundle([first.replace(b"number 0", b"number 1"), *others])


@pytest.mark.parametrize(("fault", "why"), [("bent", "not what the signed checkpoint says"), ("full", "No space left")])
async def test_what_is_not_whole_in_the_archive_is_not_archived(place: Place, fault: str, why: str) -> None:
    blobs = Bent(place.archive, fault=fault)
    async with serving(build(place.settings)) as service, archiving(service.log, place, blobs) as archiver:
        await roll(place)
        failed = await until_archived(archiver, 0)
        assert failed.archived == ()
        assert failed.trouble is not None and why in failed.trouble

        blobs.fault = None
        done = await until_archived(archiver, 0)
        assert [(each.segment, each.first, each.events) for each in done.archived] == [(0, 0, EVENTS)]


@asynccontextmanager
async def archiving(store: EventStore, place: Place, blobs: Blobs) -> AsyncIterator[Archiver]:
    archiver = Archiver(store, own(place).published, blobs)
    async with anyio.create_task_group() as group:
        group.start_soon(archiver.run)
        yield archiver
        group.cancel_scope.cancel()


async def test_another_houses_archive_is_refused(place: Place, tmp_path: Path) -> None:
    """What it has is no reason to remove anything here, and nothing is written over it."""
    async with serving(build(place.settings)):
        await archive_all(place)
    before = {path: path.read_bytes() for path in place.archive.rglob("*") if path.is_file()}
    async with house(tmp_path / "b") as other:
        settings = place.settings.model_copy(
            update={
                "nats_url": other.url,
                "keys": other.keys.path,
                "state": tmp_path / "b",
                "archive": str(place.archive),
            }
        )
        there = Place(other, settings)
        await there.append(0, EVENTS)
        async with serving(build(settings)) as service, rolling(other.operator.client) as roller:
            keeper = SegmentKeeper(roller, other.operator)  # type: ignore[arg-type]
            await keeper.roll(None)
            with pytest.raises(Conflict, match="another log's"):
                await keeper.archive()
            assert (await roller.segments()).first == 0
            assert len([event async for event in service.log.read_all()]) == EVENTS
    assert {path: path.read_bytes() for path in place.archive.rglob("*") if path.is_file()} == before


async def archive_all(place: Place) -> None:
    async with rolling(place.house.operator.client) as roller:
        keeper = SegmentKeeper(roller, place.house.operator)  # type: ignore[arg-type]
        await keeper.roll(None)
        await keeper.archive_all(lambda _: None, 30)


@pytest.mark.parametrize("other", ["segment", "first", "begin", "end", "checkpoint"])
async def test_an_index_that_is_not_of_this_log_is_not_taken(place: Place, other: str) -> None:
    async with serving(build(place.settings)) as service:
        await archive_all(place)
        events = [event async for event in service.log.read_all()]
        if other == "checkpoint":
            (place.archive / "checkpoint").unlink()
        else:
            draft = IndexDraft(int(other == "segment"), int(other == "first"))
            moved = {"begin": 0, "end": len(events) - 1}.get(other)
            for number, event in enumerate(events):
                draft.add(event.position + (number == moved), event.stream)
            (place.archive / segment_path(0)).write_bytes(draft.encode())
        async with archiving(service.log, place, FolderBlobs(place.archive)) as archiver:
            with pytest.raises(ArchiveDiffers):
                await until_archived(archiver, 0)


async def test_a_roll_that_ended_halfway_is_finished_by_the_keeper(place: Place) -> None:
    """Appends wait for it, so no limit has to be reached."""
    client = place.house.operator.client
    config = json.loads((await client.request("$JS.API.STREAM.INFO.EVENTS_0", b"", timeout=30)).data)["config"]
    closed = json.dumps(config | {"subjects": ["log.fence.0"]}).encode()
    await client.request("$JS.API.STREAM.UPDATE.EVENTS_0", closed, timeout=30)
    async with rolling(client) as roller:
        keeper = SegmentKeeper(roller, place.house.operator)  # type: ignore[arg-type]
        assert await keeper.roll(Limits())
        assert (await roller.segments()).open == 1
        assert not await keeper.roll(Limits())
    await place.append(EVENTS, 1)


class Short:
    """A store whose reads end some events early, as those of a replica that is behind."""

    def __init__(self, store: EventStore) -> None:
        self._store = store

    async def read_all(self, *, after: int, until: int) -> AsyncIterator[Recorded]:
        events = [event async for event in self._store.read_all(after=after, until=until)]
        for event in events[:-3]:
            yield event


@pytest.mark.parametrize("later", [0, 1])
async def test_a_read_that_ended_early_removes_nothing(place: Place, later: int) -> None:
    """Whether the tree has an event of the next segment already, or none yet."""
    async with serving(build(place.settings)) as service:
        await roll(place)
        await place.append(EVENTS, later)
        short: EventStore = Short(service.log)  # type: ignore[assignment]
        await until_covered(place, EVENTS + later)
        async with archiving(short, place, FolderBlobs(place.archive)) as archiver:
            failed = await until_archived(archiver, 0)
        assert failed.trouble is not None and "more of it than was read" in failed.trouble
        assert failed.archived == ()


async def until_covered(place: Place, size: int) -> None:
    with anyio.fail_after(30):
        while (latest := own(place).published.latest()) is None or latest.checkpoint.size < size:  # noqa: ASYNC110
            await anyio.sleep(0.02)


async def test_what_the_broker_has_more_of_is_not_removed(place: Place) -> None:
    """An index that came out short, and no tree that could have told so."""
    async with serving(build(place.settings)) as service:
        await roll(place)
        await until_covered(place, EVENTS)
        events = [event async for event in service.log.read_all()]
        index = IndexDraft(0, 0)
        for event in events[:-3]:
            index.add(event.position, event.stream)
        blobs = FolderBlobs(place.archive)
        latest = own(place).published.latest()
        assert latest is not None
        blobs.put("checkpoint", latest.note.encode())
        blobs.put(segment_path(0), index.encode())
        async with rolling(place.house.operator.client) as roller:
            keeper = SegmentKeeper(roller, place.house.operator)  # type: ignore[arg-type]
            with pytest.raises(ArchiveFailed, match="ends with append 297 in the archive and 300 on the broker"):
                await keeper.archive()
            assert (await roller.segments()).first == 0
        assert [event async for event in service.log.read_all()] == events


async def test_an_operator_alone_has_segments_archived(place: Place) -> None:
    [route] = [route for route in build(place.settings).routes if route.command is ArchiveSegment]
    assert route.between and not route.direct


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 300, 512, 700, 1025])
@pytest.mark.parametrize("part", [(0, 1), (0.2, 0.7), (0.9, 1)])
def test_the_root_is_computed_over_what_was_taken_in(tmp_path: Path, size: int, part: tuple[float, float]) -> None:
    tree, raws = Tree(), [f"event {number}".encode() for number in range(size)]
    for number, raw in enumerate(raws):
        tree.append(Recorded(number + 1, raw))
    tiles = Tiles(tmp_path)
    tiles.store(tree.cut(), "note")
    first, end = int(part[0] * size) // 256, -(-int(part[1] * size) // 256) or 1

    found = Recomputed(tiles, size)
    changed = Recomputed(tiles, size)
    for number in range(first, end):
        bundle = raws[number * 256 : (number + 1) * 256]
        found.take(number, bundle)
        changed.take(number, [*bundle[:-1], b"x"] if number == end - 1 else bundle)

    assert found.root() == tree.root()
    assert changed.root() != tree.root()
