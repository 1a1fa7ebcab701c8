"""The power fails while writers write: a file system of its own loses all that was not synced to its device.

The file system is ext4 on a loop device. Its shutdown ioctl drops what is in memory, the journal's last records too,
as the power does; then it is mounted anew.
"""

import asyncio
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from nats.aio.client import Client

from dominie_eventstore import JetStreamEventStore, provision
from dominie_eventstore.testing import Broker

if TYPE_CHECKING:
    from tests.chaos.conftest import Told, Writers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]
SHUTDOWN: Final = 0x8004587D
"""EXT4_IOC_SHUTDOWN, with which flag: do not write the journal first."""
NOLOGFLUSH: Final = struct.pack("I", 2)
SIZE_MB = 256
FAILURES, TRIES, WRITERS = 4, 5, 64
Connect = Callable[..., Awaitable[Client]]


class PowerFailed(Exception):
    """Nobody writes any more."""


class Disk:
    """A file system on a file, whose power can fail."""

    def __init__(self, folder: Path) -> None:
        self.image, self.path = folder / "image", folder / "disk"
        self.path.mkdir()
        with self.image.open("wb") as image:
            image.truncate(SIZE_MB * 2**20)
        _run("mkfs.ext4", "-q", "-F", str(self.image))
        self.device = _run("losetup", "--find", "--show", str(self.image))

    def mount(self) -> None:
        """Mount it; its journal is replayed."""
        _run("mount", self.device, str(self.path))

    def fail(self) -> None:
        """Lose everything that is not on the device; nothing can be read or written until it is mounted again."""
        file = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.ioctl(file, SHUTDOWN, NOLOGFLUSH)
        finally:
            os.close(file)

    def unmount(self) -> None:
        """Unmount it."""
        _run("umount", str(self.path))

    def remove(self) -> None:
        """Leave nothing behind."""
        subprocess.run(["umount", "-l", str(self.path)], capture_output=True, check=False)
        _run("losetup", "--detach", self.device)


def _run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.strip()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    missing = [name for name in ("mkfs.ext4", "losetup", "mount") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"NOT TESTED, a power failure: it needs root and mkfs.ext4 (missing: {missing or 'root'})")
    try:
        found = Disk(tmp_path)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT TESTED, a power failure: no loop device here ({error.stderr.strip()})")
    try:
        found.mount()
        yield found
    except subprocess.CalledProcessError as error:
        pytest.skip(f"NOT TESTED, a power failure: no file system can be mounted here ({error.stderr.strip()})")
    finally:
        found.remove()


class Trial:
    """A broker on a disk, and writers who were told what is stored there."""

    def __init__(self, disk: Disk, broker: Broker, told: "Told", writers: "type[Writers]", connect: Connect) -> None:
        self._disk, self._broker, self._told = disk, broker, told
        self._writers, self._connect = writers, connect
        self._failures = 0

    async def power_failure(self) -> JetStreamEventStore:
        """Write, let the power fail in the middle, and start again; the store as it is then."""
        self._failures += 1
        store = JetStreamEventStore(await self._connect(self._broker.url))
        load = self._writers(store, self._told, WRITERS, name=f"{self._failures}-")
        try:
            async with load.writing():
                await load.more(10 * WRITERS)
                self._disk.fail()
                self._broker.kill()
                raise PowerFailed
        except* PowerFailed:
            pass
        self._disk.unmount()
        self._disk.mount()
        await asyncio.to_thread(self._broker.start)
        return JetStreamEventStore(await self._connect(self._broker.url))


@pytest.fixture
def trial(
    disk: Disk, tmp_path: Path, told: "Told", writers: "type[Writers]", connect: Connect
) -> Iterator[Callable[..., Awaitable[Trial]]]:
    """A broker that syncs when it is told to, with its stream on the disk for good."""
    started: list[Broker] = []

    async def start(sync: str) -> Trial:
        broker = Broker(tmp_path, sync=sync, store=disk.path / "store")
        started.append(broker)
        broker.start()
        await provision(await connect(broker.url))
        _run("sync", "--file-system", str(disk.path))
        return Trial(disk, broker, told, writers, connect)

    yield start
    for broker in started:
        broker.stop()


async def test_nothing_acknowledged_is_lost(trial: Callable[..., Awaitable[Trial]], told: "Told") -> None:
    found = await trial("always")
    for _ in range(FAILURES):
        await told.check(await found.power_failure())


async def test_a_broker_that_does_not_sync_loses_what_it_acknowledged(
    trial: Callable[..., Awaitable[Trial]], told: "Told"
) -> None:
    """So that the test above can fail: the same with the server's own default."""
    found = await trial("2m")
    for _ in range(TRIES):
        try:
            await told.check(await found.power_failure())
        except AssertionError:
            return
    pytest.fail("the power failed, and nothing was lost")
