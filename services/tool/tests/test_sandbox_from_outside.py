"""A box as the host sees it: who runs in it, and that nothing of it is left."""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from dominie_tool.sandbox import Limits, Sandbox
from dominie_tool.sandbox.box import open_box
from dominie_tool.sandbox.call import call
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.values import Host

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def machine(*, cgroup: bool = True) -> Host:
    host = survey()
    assert isinstance(host, Host)
    return host if cgroup else replace(host, cgroups=None)


DAEMON = """
import os, time
def attack(wait):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(60)
        os._exit(0)
    time.sleep(wait)
    return os.readlink("/proc/self/ns/pid")
"""


def inside(namespace: str) -> list[int]:
    """The host's numbers of the processes that live in a process namespace."""
    found = []
    for pid in living():
        with suppress(OSError):
            if os.readlink(f"/proc/{pid}/ns/pid") == namespace:
                found.append(pid)
    return found


def children(parent: int) -> set[int]:
    """The living children of a process."""
    return {pid for pid, ppid in living().items() if ppid == parent}


def living() -> dict[int, int]:
    """All processes with their parents, but for those that have ended and wait to be asked about it."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                found[int(folder.name)] = int(parent)
    return found


def uids(pid: int) -> list[str]:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("Uid:")).split()[1:]


@contextmanager
def adopting() -> Iterator[None]:
    """Orphans come to this process for a while (prctl(2), PR_SET_CHILD_SUBREAPER), so that none can hide."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(36, 1) == 0
    try:
        yield
    finally:
        libc.prctl(36, 0)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


@contextmanager
def given_up_after(delay_s: float) -> Iterator[None]:
    """The loop's own cancellation, which comes once, where anyio's comes at every wait."""
    task = asyncio.current_task()
    assert task is not None
    timer = asyncio.get_running_loop().call_later(delay_s, task.cancel)
    try:
        with suppress(asyncio.CancelledError):
            yield
        task.uncancel()
    finally:
        timer.cancel()


def left_over() -> list[Path]:
    parents = machine().cgroups
    mine = f"dominie-{os.getpid()}-*"
    return [*parents.memory.glob(mine), *parents.pids.glob(mine)] if parents else []


async def test_nobody_in_a_box_is_root_on_the_host() -> None:
    async with open_box(machine(), Limits()) as box:
        for pid in (box.process.pid, *children(box.process.pid)):
            assert "0" not in uids(pid)


@pytest.mark.parametrize("cgroup", [True, False])
async def test_no_process_cgroup_or_descriptor_outlives_a_run(cgroup: bool) -> None:
    before = len(os.listdir("/proc/self/fd"))
    work = {"source": DAEMON, "function": "attack", "arguments": {"wait": 0}, "context": {}}
    outcome = await call(machine(cgroup=cgroup), Limits(), work)
    assert isinstance(outcome.value, str)
    assert outcome.value.startswith("pid:")
    assert inside(outcome.value) == []
    assert left_over() == []
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("cgroup", [True, False])
async def test_nothing_outlives_a_cancelled_run(cgroup: bool) -> None:
    namespace = ""
    with anyio.CancelScope() as scope:
        async with open_box(machine(cgroup=cgroup), Limits()) as box:
            namespace = os.readlink(f"/proc/{children(box.process.pid).pop()}/ns/pid")
            assert inside(namespace)
            scope.cancel()
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert inside(namespace) == []
    assert left_over() == []


@pytest.mark.parametrize("within", [anyio.move_on_after, given_up_after])
async def test_a_run_can_be_cancelled_at_any_moment(within: Callable[[float], Any]) -> None:
    descriptors, mine = len(os.listdir("/proc/self/fd")), children(os.getpid())
    with adopting():
        for tenths_ms in range(0, 700, 35):
            with within(tenths_ms / 10_000):
                await Sandbox().run(DAEMON, "attack", {"wait": 60})
            assert children(os.getpid()) <= mine
            assert left_over() == []
    assert len(os.listdir("/proc/self/fd")) == descriptors
