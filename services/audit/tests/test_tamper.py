"""Whatever is done to the stored log, the first event that is not what was recorded is named."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from anyio.to_thread import run_sync

from dominie.notes import Checkpoint, NotProven
from dominie_audit.adapters.offline import check, export, verify_file
from dominie_audit.adapters.tlog.comparison import check_start
from dominie_audit.adapters.tlog.keeper import Keeper
from dominie_audit.adapters.tlog.published import KeyGone, LogDiffers, Own, Published
from dominie_contracts import Recorded
from dominie_contracts.guardrail import PoliciesPublished
from dominie_eventstore import Durability, MemoryEventStore, StoreUnavailable

pytestmark = pytest.mark.anyio
Sign = Callable[[], Awaitable[None]]
Write = Callable[..., Awaitable[int]]


class Altered(MemoryEventStore):
    """A log that somebody wrote over: these events, and no others."""

    def __init__(self, events: list[Recorded]) -> None:
        super().__init__()
        self._all = events


class Stored(Recorded):
    """An event whose stream the store knows, whatever its bytes say."""

    @property
    def stream(self) -> str:
        return "acme.tool.a1"


def flipped(event: Recorded, at: int) -> Recorded:
    raw = bytearray(event.raw)
    raw[at] ^= 1
    return Stored(event.position, bytes(raw))


def last(published: Published) -> Checkpoint:
    latest = published.latest()
    assert latest is not None
    return latest.checkpoint


async def events_of(store: MemoryEventStore) -> list[Recorded]:
    return [event async for event in store.read_all()]


async def test_a_whole_log_is_as_its_checkpoint_says(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    report = await check(store.read_all(), published)
    assert (report.ok, report.events, report.checkpoint, report.durability) == (True, 7, 7, "none")


class Away(MemoryEventStore):
    """A log that nobody can ask how it is kept."""

    async def durability(self) -> Durability:
        raise StoreUnavailable("asking")


async def test_nothing_is_signed_that_cannot_be_known(own: Own, refund: None, store: MemoryEventStore) -> None:
    keeper = Keeper(own, interval_s=1, max_events=1000)
    tree = await keeper.catch_up(store, lambda: 0)
    await keeper.publish(tree, Away())
    assert own.published.tiles.note() is None
    await keeper.publish(tree, store)
    assert last(own.published).size == 7


async def test_a_changed_durability_is_seen(own: Own, refund: None, checkpoint: Sign) -> None:
    await checkpoint()
    path = own.published.tiles.folder / "checkpoint"
    path.write_text(path.read_text().replace("durability none", "durability fsync"))
    with pytest.raises(NotProven):
        own.published.latest()


async def test_what_is_newer_than_the_checkpoint_is_said(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign, write: Write
) -> None:
    await checkpoint()
    await write("policy", "main", PoliciesPublished(digest="d" * 64, files=(), by="operator"))
    report = await check(store.read_all(), published)
    assert (report.ok, report.events, report.checkpoint) == (True, 8, 7)


@pytest.mark.parametrize("number", range(7))
async def test_a_changed_byte_in_any_event_is_named(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign, number: int
) -> None:
    await checkpoint()
    events = await events_of(store)
    position = events[number].position
    for at in range(0, len(events[number].raw), 7):
        altered = Altered([*events[:number], flipped(events[number], at), *events[number + 1 :]])
        report = await check(altered.read_all(), published)
        assert (report.ok, report.broken_at) == (False, position), f"byte {at}: {report.why}"
        with pytest.raises(LogDiffers) as found:
            await check_start(altered, last(published), published.tiles)
        assert (found.value.position, found.value.index) == (position, number)


@pytest.mark.parametrize(("number", "newest", "found"), [(6, 1, 6), (5, 1, None), (5, 2, 5), (0, 99, 0), (6, 0, None)])
async def test_the_newest_events_alone_are_checked_first(
    store: MemoryEventStore,
    published: Published,
    refund: None,
    checkpoint: Sign,
    number: int,
    newest: int,
    found: int | None,
) -> None:
    await checkpoint()
    events = await events_of(store)
    altered = Altered([*events[:number], flipped(events[number], 9), *events[number + 1 :]])
    try:
        await check_start(altered, last(published), published.tiles, newest=newest)
    except LogDiffers as error:
        assert (error.index, error.position) == (found, events[number].position)
    else:
        assert found is None


async def test_where_the_tiles_are_damaged_all_events_are_checked(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    (tile,) = (published.tiles.folder / "tile/0").rglob("7")
    tile.unlink()
    await check_start(store, last(published), published.tiles, newest=1)
    events = await events_of(store)
    with pytest.raises(LogDiffers, match="tiles"):
        await check_start(Altered([flipped(events[0], 9), *events[1:]]), last(published), published.tiles, newest=1)


@pytest.mark.parametrize("kept", [0, 1, 4, 6])
async def test_events_that_are_gone_from_the_end_are_named(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign, kept: int
) -> None:
    await checkpoint()
    events = await events_of(store)
    report = await check(Altered(events[:kept]).read_all(), published)
    assert (report.ok, report.broken_at) == (False, events[kept].position)
    assert f"ends after {kept}" in report.why


@pytest.mark.parametrize(("one", "other"), [(0, 1), (2, 3), (3, 6), (5, 6)])
async def test_swapped_events_are_named(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign, one: int, other: int
) -> None:
    await checkpoint()
    events = await events_of(store)
    swapped = list(events)
    swapped[one] = Stored(events[one].position, events[other].raw)
    swapped[other] = Stored(events[other].position, events[one].raw)
    report = await check(Altered(swapped).read_all(), published)
    assert (report.ok, report.broken_at) == (False, events[one].position)


async def test_where_the_tiles_are_damaged_too_the_root_alone_tells(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    (tile,) = (published.tiles.folder / "tile/0").rglob("7")
    tile.write_bytes(bytes(7 * 32))
    assert (await check(store.read_all(), published)).ok
    events = await events_of(store)
    report = await check(Altered([*events[:6], flipped(events[6], 9)]).read_all(), published)
    assert (report.ok, report.broken_at) == (False, events[0].position)
    assert "tiles" in report.why


async def test_a_changed_checkpoint_does_not_hold(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    path = published.tiles.folder / "checkpoint"
    path.write_text(path.read_text().replace("\n7\n", "\n6\n"))
    report = await check(store.read_all(), published)
    assert not report.ok and "signature" in report.why


async def test_an_exported_log_is_checked_too(
    store: MemoryEventStore, published: Published, refund: None, checkpoint: Sign, tmp_path: Path
) -> None:
    await checkpoint()
    copy = tmp_path / "log.jsonl"
    await export(store, copy)
    assert (await run_sync(verify_file, copy, published)).checkpoint == 7
    lines = copy.read_text().splitlines(keepends=True)
    events = await events_of(store)
    copy.write_text("".join(lines[:-1]))
    assert (await run_sync(verify_file, copy, published)).broken_at == events[-1].position
    copy.write_text("".join([*lines[:2], lines[3], lines[2], *lines[4:]]))
    assert (await run_sync(verify_file, copy, published)).broken_at == events[2].position


async def test_a_tree_goes_on_after_a_crash(
    store: MemoryEventStore, own: Own, refund: None, checkpoint: Sign, write: Write
) -> None:
    await checkpoint()
    note = own.published.tiles.note()
    await write("policy", "main", PoliciesPublished(digest="d" * 64, files=(), by="operator"))
    keeper = Keeper(own, interval_s=1, max_events=1000)
    tree = await keeper.catch_up(store, lambda: 0)
    own.published.tiles.store(tree.cut(), note or "")  # died between the tiles and the checkpoint
    await checkpoint()
    assert last(own.published).size == 8
    assert (await check(store.read_all(), own.published)).ok


async def test_lost_tiles_are_rebuilt_from_the_log(
    store: MemoryEventStore, own: Own, refund: None, checkpoint: Sign
) -> None:
    await checkpoint()
    tiles = {p: p.read_bytes() for p in own.published.tiles.folder.rglob("*") if p.is_file() and p.name != ".lock"}
    for path in tiles:
        if path.name != "checkpoint":
            path.unlink()
    await checkpoint()
    assert {path: path.read_bytes() for path in tiles} == tiles


@pytest.mark.parametrize("damaged", [True, False])
async def test_a_log_that_does_not_lead_to_its_checkpoint_is_never_signed(
    store: MemoryEventStore, own: Own, refund: None, checkpoint: Sign, damaged: bool
) -> None:
    await checkpoint()
    (tile,) = (own.published.tiles.folder / "tile/0").rglob("7")
    tile.unlink()
    events = await events_of(store)
    altered = Altered([flipped(events[0], 9), *events[1:]] if damaged else events[:-1])
    with pytest.raises(LogDiffers, match="position"):
        await Keeper(own, interval_s=1, max_events=2).catch_up(altered, lambda: 0)
    assert last(own.published).size == 7


def test_a_key_is_made_once_and_kept_from_others(tmp_path: Path) -> None:
    own = Own.open(tmp_path, "dominie/test")
    assert (tmp_path / "tlog.key").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "vkey").read_text() == f"{own.published.key}\n"
    assert Own.open(tmp_path, "dominie/other").published.key == own.published.key


def test_a_key_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    Own.open(tmp_path, "dominie/test")
    (tmp_path / "tlog.key").unlink()
    with pytest.raises(KeyGone, match="put it back"):
        Own.open(tmp_path, "dominie/test")


async def test_a_key_of_another_log_is_refused(
    own: Own, store: MemoryEventStore, refund: None, checkpoint: Sign, tmp_path: Path
) -> None:
    await checkpoint()
    Own.open(tmp_path / "other", "dominie/test")
    (tmp_path / "tlog.key").write_text((tmp_path / "other/tlog.key").read_text())
    with pytest.raises(KeyGone, match="not the one"):
        Own.open(tmp_path, "dominie/test")
