"""The broker's disk is full: an append is refused with a typed problem, and afterwards the log is whole and goes on."""

import ctypes
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import pytest
from nats.errors import Error

import dominie
from dominie.keys import KeyPair
from dominie_contracts import Problem, Unavailable
from dominie_contracts.artifact import CHUNK_BYTES
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.subjects import chunk_subject
from dominie_eventstore import JetStreamEventStore, verify_chain
from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_kit.blobs import Blob, StreamBlobs
from dominie_kit.bus import Inner
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.system import System
from dominie_kit.settings import KitSettings
from dominie_kit.testing import House, connected, house, serving

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
DISK_MB = 48
ANSWER_S, AGAIN_S = 10.0, 40.0


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small disk of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", bytes(path), b"tmpfs", 0, f"size={DISK_MB}m".encode()):
        pytest.skip(f"NOT TESTED, a full disk: mounting one needs root ({os.strerror(ctypes.get_errno())})")
    try:
        yield path
    finally:
        assert libc.umount2(bytes(path), 2) == 0  # MNT_DETACH


@pytest.fixture
async def rooms(disk: Path) -> AsyncIterator[House]:
    async with house(disk) as found:
        yield found


def fill(path: Path) -> None:
    """Take every block that is left."""
    with open(path, "wb", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


async def mint(rooms: House, keys: KeyPair, run: str) -> RunToken:
    async with connected(rooms.url, keys, "acme", "a-desk") as agent:
        return await agent.ask(MintRunToken(user="u-dana", run=run), RunToken, timeout_s=ANSWER_S)


async def test_a_full_disk_is_said_and_breaks_nothing(rooms: House, disk: Path) -> None:
    async with serving(build(Settings(nats_url=rooms.url, keys=rooms.keys.path, state=rooms.keys.path / "state"))):
        keys = await rooms.register("a-desk", users=("u-dana",))
        assert (await mint(rooms, keys, "before")).token
        fill(disk / "filler")
        with pytest.raises(Unavailable, match="event log"):
            for number in range(500):
                await mint(rooms, keys, f"full-{number}")
        (disk / "filler").unlink()
        rooms.broker.stop()
        rooms.broker.start()
        with anyio.fail_after(AGAIN_S):
            while not await _minted(rooms, keys):
                continue
    operator = await connect_operator(rooms.url, rooms.keys)
    try:
        report = await verify_chain(JetStreamEventStore(operator).read_all())
    finally:
        await operator.close()
    assert report.ok and report.events >= 3, report


async def test_a_full_disk_is_left_behind_by_itself(
    disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with System(disk, keys=tmp_path / "keys", services=("identity", "guardrail", "tool")) as house:
        monkeypatch.chdir(disk)
        async with dominie.AsyncClient("desk", timeout_s=3) as client:
            assert await _opened(client)
            fill(disk / "filler")
            with anyio.fail_after(AGAIN_S):
                while await _opened(client):
                    continue
            assert not await _opened(client)
            first = house.pid_of("broker")
            (disk / "filler").unlink()
            with anyio.fail_after(AGAIN_S):
                while not await _opened(client):
                    continue
        assert house.pid_of("broker") != first


async def test_an_artifact_that_does_not_fit_is_refused(rooms: House, disk: Path) -> None:
    tool = Inner("tool", KitSettings(nats_url=rooms.url, keys=rooms.keys.path))
    await tool.open()
    try:
        blobs, chunk = StreamBlobs(tool.client), os.urandom(CHUNK_BYTES)
        await blobs.put(chunk_subject("acme", "k", "before"), chunk)
        fill(disk / "filler")
        with pytest.raises(Unavailable, match="store of artifacts"):
            for number in range(500):
                await blobs.put(chunk_subject("acme", "k", str(number)), chunk)
        (disk / "filler").unlink()
        rooms.broker.stop()
        rooms.broker.start()
        with anyio.fail_after(AGAIN_S):
            while (found := await _got(blobs, chunk_subject("acme", "k", "before"))) is None:
                continue
        assert found.body == chunk
    finally:
        await tool.close()


async def _got(blobs: StreamBlobs, subject: str) -> Blob | None:
    """What is there, once the broker is back."""
    try:
        return await blobs.get(subject)
    except Unavailable:
        return None


async def _opened(client: dominie.AsyncClient) -> bool:
    """Whether a run can be opened, which is an event."""
    try:
        async with client.run(user="dev") as run:
            await run.tools()
    except Problem:
        return False
    return True


async def _minted(rooms: House, keys: KeyPair) -> bool:
    """Whether identity is back on the bus, and writes."""
    try:
        return bool((await mint(rooms, keys, "after")).token)
    except (Error, OSError, Unavailable):
        return False
