"""Boxes that wait: each takes one call, with that call's limits, and nothing of it stays."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from subprocess import DEVNULL

import anyio
import pytest
from anyio import to_thread

from dominie_tool.sandbox import Limits, Outcome, Sandbox
from dominie_tool.sandbox.cgroup import sweep
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.values import CgroupParents, Host

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]
LIMITS = Limits(time_s=20, memory_mb=128, processes=16)
WHO = """
import os, time
def who(leave):
    before = os.listdir("/tmp")
    open("/tmp/mine", "w").close()
    if leave and os.fork() == 0:
        time.sleep(300)
    return [os.readlink("/proc/self/ns/pid"), before]
"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    found = Sandbox(LIMITS, waiting=1)
    with anyio.fail_after(120):
        async with found.open():
            await run(found, "def f(): pass")  # nothing waits before the first call
            yield found
    assert [name for name in os.listdir(memory_folder()) if name.startswith(f"dominie-{os.getpid()}-")] == []


def memory_folder() -> str:
    host = survey()
    assert isinstance(host, Host)
    return str(host.cgroups.memory) if host.cgroups else "/proc/self/task"


async def run(sandbox: Sandbox, source: str, function: str = "f", **arguments: object) -> Outcome:
    return await sandbox.run(source, function, arguments)


async def waiting_process(sandbox: Sandbox) -> int:
    """The outermost process of the box that waits."""
    await sandbox.pool.one_waits()
    spare = next(spare.box for spare in sandbox.pool._ahead if spare.box)
    return spare.process.pid


async def gone(namespace: str) -> None:
    """Wait until no process lives in a process namespace."""
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:
        if ns(pid) == namespace:
            with suppress(ProcessLookupError), closing_fd(os.pidfd_open(pid)) as process:
                await anyio.wait_readable(process)


@contextmanager
def closing_fd(descriptor: int) -> Iterator[int]:
    yield descriptor
    os.close(descriptor)


def ns(pid: int) -> str:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid")
    except OSError:
        return ""


async def test_no_box_takes_a_second_call(sandbox: Sandbox) -> None:
    seen = []
    for _ in range(4):
        outer = await waiting_process(sandbox)
        outcome = await run(sandbox, WHO, "who", leave=True)
        assert isinstance(outcome.value, list), outcome.detail
        namespace, before = outcome.value
        seen.append((outer, namespace))
        assert before == []
        await gone(namespace)
    assert len({outer for outer, _ in seen}) == len({namespace for _, namespace in seen}) == 4


async def test_a_call_takes_the_box_that_waits(sandbox: Sandbox) -> None:
    outer = await waiting_process(sandbox)
    async with sandbox.pool.take(survey(), LIMITS) as box:  # type: ignore[arg-type]  # there is a sandbox here
        assert box.process.pid == outer


async def test_a_box_that_waits_has_imported_what_many_tools_want(sandbox: Sandbox) -> None:
    await sandbox.pool.one_waits()
    assert (await run(sandbox, "import sys\ndef f(): return 'asyncio' in sys.modules")).value is True


async def test_the_limits_are_those_of_the_call(sandbox: Sandbox) -> None:
    await sandbox.pool.one_waits()
    hog = "def f():\n  return len(bytearray(100 << 20))"
    assert (await run(sandbox, hog)).status == "ok"
    await sandbox.pool.one_waits()
    outcome = await sandbox.run(hog, "f", {}, limits=replace(LIMITS, memory_mb=64))
    assert (outcome.status, outcome.detail) == ("memory", "it needed more than 64 MB")


@pytest.mark.skipif("cgroup" not in Sandbox.layers(), reason="NO CGROUP IS TESTED HERE: none is writable")
async def test_the_cgroup_of_a_box_that_waited_has_the_limits_of_the_call(sandbox: Sandbox) -> None:
    await sandbox.pool.one_waits()
    async with sandbox.pool.take(survey(), replace(LIMITS, memory_mb=32, processes=3)) as box:  # type: ignore[arg-type]
        assert box.cgroup is not None
        limit = "memory.limit_in_bytes" if box.cgroup.version == 1 else "memory.max"
        assert int((box.cgroup.memory / limit).read_text()) == 32 << 20
        assert int((box.cgroup.pids / "pids.max").read_text()) < 10


@pytest.mark.skipif("cgroup" not in Sandbox.layers(), reason="NO CGROUP IS TESTED HERE: none is writable")
@pytest.mark.parametrize("waits", [True, False])
async def test_once_a_cgroup_is_found_no_box_without_one_is_given_out(waits: bool) -> None:
    host = survey()
    assert isinstance(host, Host)
    sandbox = Sandbox(LIMITS, waiting=1, host=replace(host, cgroups=None))
    with anyio.fail_after(120):
        async with sandbox.open():
            await run(sandbox, "def f(): pass")
            before = next(iter(sandbox.pool._ahead))
            if waits:
                await sandbox.pool.one_waits()
            for _ in range(3):
                async with sandbox.pool.take(host, LIMITS) as box:
                    assert box.cgroup is not None
                await sandbox.pool.one_waits()
            assert before.used.is_set() and len(sandbox.pool._ahead) == 1
            if before.box is not None:
                await before.box.process.wait()


async def test_another_scratch_folder_needs_another_box(sandbox: Sandbox) -> None:
    outer = await waiting_process(sandbox)
    size = "import os\ndef f():\n  s = os.statvfs('/tmp')\n  return s.f_blocks * s.f_frsize >> 20"
    assert (await sandbox.run(size, "f", {}, limits=replace(LIMITS, scratch_mb=3))).value == 3
    assert await waiting_process(sandbox) == outer


async def test_a_box_that_died_while_it_waited_is_given_to_nobody(sandbox: Sandbox) -> None:
    outer = await waiting_process(sandbox)
    os.kill(outer, signal.SIGKILL)
    process = next(spare.box for spare in sandbox.pool._ahead if spare.box).process
    await process.wait()
    assert (await run(sandbox, "def f(): return 1")).value == 1
    assert await waiting_process(sandbox) != outer


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("while True: pass", "timeout"),
        ("import time; time.sleep(1e6)", "timeout"),
        ("import os\n  while True: os.write(1, b'x' * 65536)", "output"),
        ("print('x' * 200_000, end='')", "output"),
        ("x = []\n  while True: x.append(bytearray(1 << 22))", "memory"),
        ("import os; os.kill(os.getpid(), 9)", "died"),
        ("import os\n  for fd in range(64):\n    try: os.close(fd)\n    except OSError: pass", "died"),
    ],
)
async def test_whatever_a_call_did_the_next_one_works(sandbox: Sandbox, body: str, status: str) -> None:
    await sandbox.pool.one_waits()
    outcome = await sandbox.run(
        f"def f():\n  {body}", "f", {}, limits=replace(LIMITS, time_s=2.0) if status == "timeout" else None
    )
    assert outcome.status == status, outcome.detail
    assert (await run(sandbox, "def f(): return 1")).value == 1


async def test_calls_at_once_have_boxes_of_their_own(sandbox: Sandbox) -> None:
    seen: list[object] = []

    async def one() -> None:
        seen.append((await run(sandbox, "import os\ndef f(): return os.readlink('/proc/self/ns/pid')")).value)

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(one)
    assert len(set(map(str, seen))) == 5


SERVICE = """
import anyio
from dominie_tool.sandbox import Limits, Sandbox
async def main():
    sandbox = Sandbox(waiting=1)
    async with sandbox.open():
        await sandbox.run("def f(): pass", "f", {})
        await sandbox.pool.one_waits()
        print(next(spare.box for spare in sandbox.pool._ahead).process.pid, flush=True)
        await anyio.sleep_forever()
anyio.run(main)
"""


async def test_boxes_that_wait_end_with_a_service_that_is_killed() -> None:
    with anyio.fail_after(120):
        async with await anyio.open_process([sys.executable, "-c", SERVICE], stderr=DEVNULL) as service:
            assert service.stdout is not None
            outer = int(await service.stdout.receive())
            first = child_of(outer)
            with closing_fd(os.pidfd_open(outer)) as one, closing_fd(os.pidfd_open(first)) as two:
                service.kill()
                await anyio.wait_readable(one)
                await anyio.wait_readable(two)
        host = survey()
        assert isinstance(host, Host)
        if host.cgroups:
            await to_thread.run_sync(swept, host.cgroups, f"dominie-{service.pid}-")


def child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


def swept(parents: CgroupParents, prefix: str) -> None:
    """What a killed service left is there until somebody sweeps, which the next service does."""
    found, until_s = list(parents.memory.glob(f"{prefix}*")), time.monotonic() + 30
    assert found
    while any(folder.exists() for folder in found):
        assert time.monotonic() < until_s
        sweep(parents)
        time.sleep(0.01)  # a folder is free a moment after its last process has ended
