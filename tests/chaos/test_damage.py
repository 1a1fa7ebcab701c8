"""The files of the log are damaged: audit refuses to serve it, and whoever looks is told from which position on."""

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

import dominie
from dominie_contracts.envelope import Recorded, unpack_position
from dominie_eventstore import JetStreamEventStore
from dominie_kit.errors import StartFailed
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(120)
ROOMS = ("identity", "guardrail", "memory", "audit")
RUNS, WAIT_S, STOP_S = 10, 40.0, 2.0


def flip(block: Path, at: int) -> None:
    """One bit."""
    stored = bytearray(block.read_bytes())
    stored[at] ^= 1
    block.write_bytes(stored)


def cut(block: Path, at: int) -> None:
    """Everything from there on."""
    os.truncate(block, at)


async def events(house: System) -> list[Recorded]:
    client = await connect_operator(house.nats_url, house.keys)
    try:
        return [event async for event in JetStreamEventStore(client).read_all()]
    finally:
        await client.close()


def work(folder: Path) -> None:
    """Some runs, each with something to remember."""
    with contextlib.chdir(folder), dominie.Client("desk") as agent:
        for number in range(RUNS):
            with agent.run(user="dev", id=f"run-{number}") as run:
                run.remember(f"note {number}")


def until(found: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not found():
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture
def house(tmp_path: Path) -> System:
    return System(tmp_path, keys=tmp_path / "keys", services=ROOMS, stop_s=STOP_S)


def written(house: System) -> Recorded:
    """Write a log, wait until a checkpoint covers it; the first event of a message in its middle."""
    work(house.plan.folder)
    stored = anyio.run(events, house)
    checkpoint = house.state.path / "audit/tlog/checkpoint"
    until(lambda: int(checkpoint.read_text().split("\n")[1]) >= len(stored))
    return [event for event in stored if unpack_position(event.position)[2] == 0][RUNS]


def hurt(house: System, event: Recorded, damage: Callable[[Path, int], None]) -> None:
    """Damage the broker's file in the middle of an event."""
    (block,) = (house.state.path / "nats/jetstream").rglob("EVENTS_0/msgs/1.blk")
    damage(block, block.read_bytes().index(event.raw) + len(event.raw) // 2)


@pytest.mark.parametrize("damage", [flip, cut])
def test_a_damaged_log_is_not_served(damage: Callable[[Path, int], None], house: System) -> None:
    with house:
        event = written(house)
    hurt(house, event, damage)
    with pytest.raises(StartFailed, match=f"LogDiffers.* from position {event.position} on"), house:
        pytest.fail("it started")


def test_damage_that_shows_while_it_runs_is_told_by_status(house: System, dominie_command: str) -> None:
    def status() -> tuple[int, str]:
        """Whether all is well, and why audit ended last."""
        asked = [dominie_command, "status", "--json"]
        done = subprocess.run(asked, cwd=house.plan.folder, capture_output=True, text=True, check=False, timeout=30)
        return done.returncode, json.loads(done.stdout)["parts"]["audit"]["reason"] or ""

    with house:
        event = written(house)
        assert status() == (0, "")
        hurt(house, event, cut)
        house.wait_for_restart("broker", after=house.kill("broker"))
        house.kill("audit")
        until(
            lambda: (
                f"LogDiffers: the event log is not what was recorded, from position {event.position} on" in status()[1]
            )
        )
        assert status()[0] == 1
