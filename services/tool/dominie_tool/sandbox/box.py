"""One box: started, and gone without a trace, whatever happens."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from anyio import to_thread
from anyio.abc import Process

from dominie_tool.sandbox import gvisor, inside
from dominie_tool.sandbox.cgroup import Cgroup
from dominie_tool.sandbox.command import Descriptors, command
from dominie_tool.sandbox.seccomp import seccomp_filter
from dominie_tool.sandbox.values import Host, Limits

_END_S = 5.0
_FIRST = re.compile(rb'"child-pid": (\d+)')  # bwrap writes its JSON in pieces, this one whole
_PROGRAM = Path(inside.__file__).read_bytes()


@dataclass(frozen=True, slots=True)
class Box:
    """A running box.

    Attributes:
        process: The outermost process.
        prints: The descriptor to read its standard output and error from, which are one stream.
        result: The descriptor to read the result from.
        cgroup: The run's cgroup, where there is one.
        network: Where the program inside hands out what listens in its box, if that has a way out.
    """

    process: Process
    prints: int
    result: int
    cgroup: Cgroup | None
    network: socket.socket | None = None


@asynccontextmanager
async def open_box(host: Host, limits: Limits, *, networked: bool = False) -> AsyncIterator[Box]:
    """Start a box; at the end kill whatever is in it, wait for that, and remove what was made for it.

    Raises:
        OSError: It could not be started.
    """
    cgroup = await to_thread.run_sync(Cgroup.make, host.cgroups, limits, host.own) if host.cgroups else None
    try:
        async with _started(host, limits, cgroup, networked=networked) as box:
            yield box
    finally:
        if cgroup:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(cgroup.remove)


@asynccontextmanager
async def _started(host: Host, limits: Limits, cgroup: Cgroup | None, *, networked: bool) -> AsyncIterator[Box]:
    with ExitStack() as ours, ExitStack() as theirs:
        (info, tell_info), (result, tell_result) = pipe(ours, theirs), pipe(ours, theirs)
        prints, tell_prints = pipe(ours, theirs)
        network, hand_out = hand_out_line(ours, theirs) if networked else (None, None)
        rules = gvisor.configuration(host, limits) if host.runsc else seccomp_filter(loopback=networked)
        given = memory_file(theirs, _PROGRAM), memory_file(theirs, rules)
        runsc = _file(theirs, host.runsc) if host.runsc else None
        inherited = Descriptors(*given, None if host.wasm else tell_info, tell_result, runsc, hand_out)
        line = command(host, limits, inherited, cgroup)
        async with launched(
            line, info, theirs, inherited.all(), stdout=tell_prints, stderr=subprocess.STDOUT
        ) as process:
            yield Box(process, prints, result, cgroup, network)


@asynccontextmanager
async def launched(
    line: list[str], info: int, theirs: ExitStack, inherited: tuple[int, ...], *, stdout: int, stderr: int
) -> AsyncIterator[Process]:
    """Start bwrap by its whole command; at the end kill whatever is in the box, and wait for that.

    Args:
        line: The command.
        info: Where bwrap tells its first process' id, to read.
        theirs: What is the box's alone, and closed here once it has started.
        inherited: The descriptors that it inherits.
        stdout: As for a subprocess.
        stderr: As for a subprocess.
    """
    with anyio.CancelScope(shield=True):
        process = await anyio.open_process(
            line, stdout=stdout, stderr=stderr, cwd="/", env={}, start_new_session=True, pass_fds=inherited
        )
    theirs.close()
    first = None
    try:
        await anyio.wait_readable(info)
        first = _adopt(process.pid, info)
        yield process
    finally:
        if first is None:
            first = _adopt(process.pid, info)
        with anyio.move_on_after(_END_S, shield=True):
            await _end(process, first)


def pipe(reader: ExitStack, writer: ExitStack) -> tuple[int, int]:
    """A pipe's two ends, the first of which does not block, each closed by its owner."""
    read, write = os.pipe()
    reader.callback(os.close, read)
    writer.callback(os.close, write)
    os.set_blocking(read, False)
    return read, write


def _file(owner: ExitStack, path: str) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    owner.callback(os.close, descriptor)
    return descriptor


def hand_out_line(reader: ExitStack, writer: ExitStack) -> tuple[socket.socket, int]:
    """A line on which descriptors are handed out of the box."""
    read, write = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    reader.callback(read.close)
    writer.callback(write.close)
    read.setblocking(False)
    return read, write.fileno()


def memory_file(owner: ExitStack, data: bytes) -> int:
    """A file that a box inherits, with this in it."""
    descriptor = os.memfd_create("box")
    owner.callback(os.close, descriptor)
    os.write(descriptor, data)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _adopt(parent: int, info: int) -> int | None:
    """A descriptor of the box's first process, whose end is the end of all in it; None before bwrap has told its id.

    bwrap tells it before it lets that process go on, and until then it dies with bwrap's process group. Later it has
    left the group, and for a moment nothing binds it to bwrap's life: then only this descriptor reaches it.
    """
    try:
        told = os.read(info, 4096)
    except BlockingIOError:
        return None
    found = _FIRST.search(told)
    if found is None:
        return None  # bwrap failed
    pid = int(found[1])
    try:
        first = os.pidfd_open(pid)
        status = Path(f"/proc/{pid}/stat").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return None  # gone already
    if int(status.rpartition(")")[2].split()[1]) != parent:
        os.close(first)  # gone, and its number is another's
        return None
    return first


async def _end(process: Process, first: int | None) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if first is not None:
        try:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(first, signal.SIGKILL)
            await anyio.wait_readable(first)
            _reap(first)
        finally:
            os.close(first)
    await process.wait()
    await process.aclose()


def _reap(first: int) -> None:
    """Take note of an orphan's end: that is for init to do, but in a container init may be this very process."""
    with suppress(ChildProcessError):
        os.waitid(os.P_PIDFD, first, os.WEXITED | os.WNOHANG)
