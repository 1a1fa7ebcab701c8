"""The box of one MCP server: it lives as long, with the program to read and nothing to write to but `/tmp`."""

import os
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
from anyio import to_thread
from anyio.abc import Process

from dominie_contracts import Unavailable
from dominie_tool.mcp.program import Program
from dominie_tool.sandbox.box import hand_out_line, launched, memory_file, pipe
from dominie_tool.sandbox.certificates import CERTIFICATES, find_certificates
from dominie_tool.sandbox.cgroup import Cgroup
from dominie_tool.sandbox.command import enter, walls
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.inside import PROXY_PORT
from dominie_tool.sandbox.network import PROXIED
from dominie_tool.sandbox.seccomp import seccomp_filter
from dominie_tool.sandbox.values import Fault, Host, Limits

_CPU_S = 3600
"""Of the processor's time in a server's whole life: one that spins ends then, and is started anew."""
_BOUNDED = """
import os, resource, sys
line, processes, cpu_s, size = map(int, sys.argv[1:5])
if line >= 0:
    import socket
    with socket.create_server(("127.0.0.1", PORT), backlog=64) as listener, socket.socket(fileno=line) as out:
        socket.send_fds(out, [b"!"], [listener.fileno()])
bounds = {
    resource.RLIMIT_NPROC: processes + 1, resource.RLIMIT_CPU: cpu_s, resource.RLIMIT_FSIZE: size,
    resource.RLIMIT_NOFILE: 1024, resource.RLIMIT_CORE: 0, resource.RLIMIT_MEMLOCK: 0,
}
for which, bound in bounds.items():
    resource.setrlimit(which, (bound, bound))
os.nice(5)
os.execv(sys.argv[5], sys.argv[5:])
""".replace("PORT", str(PROXY_PORT))
"""Run in the box before the server: what listens in it is handed out, so that the server has not got it; then the
limits of each of its processes, which nothing can raise again."""


@dataclass(frozen=True, slots=True)
class ServerBox:
    """A running server's box: its outermost process, what bounds it, and where it hands out what listens in it."""

    process: Process
    cgroup: Cgroup
    network: socket.socket | None


@asynccontextmanager
async def open_server(
    program: Program, limits: Limits, environment: Mapping[str, str], *, networked: bool = False
) -> AsyncIterator[ServerBox]:
    """Start a server in a box; at the end nothing of it is left.

    Raises:
        Unavailable: This machine cannot hold it.
        OSError: It could not be started.
    """
    host = await to_thread.run_sync(survey)
    if isinstance(host, Fault):
        raise Unavailable(f"MCP servers cannot run here: {host.reason}")
    if host.cgroups is None:
        raise Unavailable("MCP servers cannot run here: they have threads, and no cgroup bounds their memory")
    cgroup = await to_thread.run_sync(Cgroup.make, host.cgroups, limits, host.own)
    try:
        with ExitStack() as ours, ExitStack() as theirs:
            info, tell_info = pipe(ours, theirs)
            filter_ = memory_file(theirs, seccomp_filter(loopback=networked))
            network, hand_out = hand_out_line(ours, theirs) if networked else (None, -1)
            line = [*enter(host, cgroup, tell_info), *_walls(host, limits, program, filter_, networked=networked)]
            line += [*_told(environment, networked=networked), "--", *_inside(host, limits, program, hand_out)]
            inherited = (filter_, tell_info, *([hand_out] if networked else []))
            async with launched(
                line, info, theirs, inherited, stdout=subprocess.PIPE, stderr=subprocess.PIPE
            ) as process:
                yield ServerBox(process, cgroup, network)
    finally:
        with anyio.CancelScope(shield=True):
            await to_thread.run_sync(cgroup.remove)


def _walls(host: Host, limits: Limits, program: Program, filter_: int, *, networked: bool) -> Iterator[str]:
    """A tool's walls, and what the program needs to read."""
    paths = program.command[0], os.path.realpath(program.command[0])
    folders = dict.fromkeys(map(os.path.dirname, paths))
    seen = [part for path in sorted(program.seen) for part in ("--ro-bind", path, path)]
    hidden = [part for path in program.hidden for part in ("--size", "4096", "--tmpfs", path)]
    certificates = find_certificates() if networked else None
    trusted = ["--ro-bind", certificates, CERTIFICATES] if certificates else []
    yield from walls(host, limits, filter_, [*seen, *hidden, *trusted])
    yield from ("--setenv", "PATH", ":".join([*folders, "/usr/local/bin", "/usr/bin"]))


def _told(environment: Mapping[str, str], *, networked: bool) -> Iterator[str]:
    """What it finds in its environment, and how it finds its way out."""
    for name, value in {**environment, **(PROXIED if networked else {})}.items():
        yield from ("--setenv", name, value)


def _inside(host: Host, limits: Limits, program: Program, hand_out: int) -> list[str]:
    bounds = [str(hand_out), str(limits.processes), str(_CPU_S), str(limits.scratch_mb << 20)]
    return [host.python, "-I", "-S", "-c", _BOUNDED, *bounds, *program.command]
