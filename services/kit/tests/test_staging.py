"""Batches gather in memory, as long as somebody watches over it; and where they cannot, nothing else changes."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from dominie_contracts.subjects import StreamName
from dominie_eventstore import JetStreamEventStore
from dominie_eventstore.conformance import draft
from dominie_kit.bus import Inner
from dominie_kit.house.broker import EmbeddedBroker, provision
from dominie_kit.house.broker_config import STREAMS
from dominie_kit.house.staging import Staging
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.settings import KitSettings

pytestmark = pytest.mark.anyio
WAIT_S = 20.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(KeyFolder(tmp_path / "keys").create(), tmp_path / "broker") as running:
        yield running


@pytest.fixture
def memory(tmp_path: Path) -> Path:
    folder = tmp_path / "memory"
    folder.mkdir()
    return folder


def batches(broker: EmbeddedBroker, segment: int = 0) -> Path:
    return broker.folder / "nats" / STREAMS / f"EVENTS_{segment}" / "batches"


async def many(broker: EmbeddedBroker, name: str) -> None:
    """Enough appends at once for a batch."""
    inner = Inner("tool", KitSettings(nats_url=broker.url, keys=broker.keys.path))
    await inner.open()
    try:
        store = JetStreamEventStore(inner.client)
        streams = [StreamName("acme", "tool", f"{name}-{number}") for number in range(100)]
        async with asyncio.timeout(WAIT_S):
            await asyncio.gather(*(store.append(stream, [draft()], expected_version=0) for stream in streams))
    finally:
        await inner.close()


async def used(broker: EmbeddedBroker, name: str) -> bool:
    """Whether batches gather in memory: the server makes a folder for each, and removes it."""
    folder = batches(broker).resolve()
    before = folder.stat().st_mtime_ns
    await many(broker, name)
    return batches(broker).is_symlink() and folder.stat().st_mtime_ns > before and not list(folder.iterdir())


async def test_a_batch_gathers_in_memory_whatever_happens_to_the_broker(broker: EmbeddedBroker) -> None:
    await provision(broker.url, broker.keys)
    assert await used(broker, "first")
    os.kill(broker.pid, signal.SIGKILL)
    broker.start()
    assert await used(broker, "killed")
    broker.stop()
    assert not batches(broker).is_symlink()
    broker.start()
    assert await used(broker, "stopped")


async def test_the_segment_that_comes_next_is_ready(broker: EmbeddedBroker) -> None:
    await provision(broker.url, broker.keys)
    broker.stage()
    memory = batches(broker).resolve().parent
    assert batches(broker, 1).resolve() == memory / "EVENTS_1"
    broker.stop()
    assert not memory.exists()
    assert not batches(broker, 1).parent.exists()
    assert (batches(broker).parent / "meta.inf").exists()


async def test_where_the_server_gathers_already_it_goes_on(broker: EmbeddedBroker) -> None:
    await provision(broker.url, broker.keys)
    batches(broker).unlink()
    await many(broker, "first")
    broker.stage()
    assert batches(broker).is_dir() and not batches(broker).is_symlink()
    await many(broker, "second")


def test_what_a_killed_one_left_is_removed_and_what_is_held_is_not(tmp_path: Path, memory: Path) -> None:
    held = Staging(tmp_path / "one", memory=memory)
    held.open()
    left = memory / "dominie-batches-left"
    left.mkdir()
    (left / "lock").touch()
    other = Staging(tmp_path / "two", memory=memory)
    other.open()
    assert not left.exists()
    assert len(list(memory.iterdir())) == 2
    other.close()
    held.close()
    assert not list(memory.iterdir())


def test_without_memory_nothing_is_linked(tmp_path: Path) -> None:
    staging = Staging(tmp_path / "streams", memory=tmp_path / "nowhere")
    staging.open()
    staging.link()
    staging.close()
    assert not (tmp_path / "streams").exists()
