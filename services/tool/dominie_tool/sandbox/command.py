"""The command that starts a box: a shell line joins the cgroup, setpriv drops root, bwrap closes the rest off.

What runs in there is the program inside, or gVisor's kernel, and in that the program.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import get_args

from dominie_tool.sandbox import gvisor
from dominie_tool.sandbox.certificates import CERTIFICATES, find_certificates
from dominie_tool.sandbox.cgroup import Cgroup
from dominie_tool.sandbox.values import ALWAYS, NOBODY, WASM, Host, Layer, Limits

_JOIN = 'set -e; while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'
_WASM = find_spec("dominie_tool.sandbox.inside_wasm")  # where wasmtime is not installed, it cannot be imported


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a box inherits.

    Attributes:
        program: The program inside, to read.
        rules: The seccomp filter, or gVisor's configuration, to read.
        info: Where bwrap writes its first process' id, where there is a bwrap.
        result: Where the program inside writes its result.
        runsc: gVisor's program, where there is one: it may stand where nobody else can look.
        network: Where the program inside hands out what listens in its box, if that has a way out.
    """

    program: int
    rules: int
    info: int | None
    result: int
    runsc: int | None = None
    network: int | None = None

    def all(self) -> tuple[int, ...]:
        """All of them."""
        every = (self.program, self.rules, self.info, self.result, self.runsc, self.network)
        return tuple(each for each in every if each is not None)


def layers(host: Host) -> tuple[Layer, ...]:
    """What a box on this host is held by: the command insists on each, and no tool runs where one fails."""
    held = {
        *(WASM if host.wasm else ALWAYS),
        *(("gvisor",) if host.runsc else ()),
        *(("cgroup",) if host.cgroups else ()),
    }
    return tuple(layer for layer in get_args(Layer) if layer in held)


def command(host: Host, limits: Limits, inherited: Descriptors, cgroup: Cgroup | None) -> list[str]:
    """The whole command."""
    if inherited.info is None:
        return [*_joined(cgroup), *_module(host, inherited)]
    if inherited.runsc is not None:
        runsc = f"/proc/self/fd/{inherited.runsc}"
        inside, own = _outside_gvisor(host, inherited), gvisor.start(runsc, inherited.result)
    else:
        inside, own = walls(host, limits, inherited.rules, _seen(inherited)), _program(host, inherited)
    return [*enter(host, cgroup, inherited.info), *inside, "--", *own]


def enter(host: Host, cgroup: Cgroup | None, info: int) -> list[str]:
    """What comes before a box's walls: join the cgroup, drop the host's root, start bwrap in namespaces of its own."""
    line = _joined(cgroup)
    if host.setpriv:
        line += [host.setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    shared = ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv")
    return [*line, host.bwrap, *shared, "--info-fd", str(info)]


def _joined(cgroup: Cgroup | None) -> list[str]:
    return ["/bin/sh", "-c", _JOIN, "sh", *(cgroup.joins() if cgroup else ()), "--"]


def _module(host: Host, inherited: Descriptors) -> list[str]:
    """The process around a WebAssembly module."""
    assert _WASM is not None and _WASM.origin is not None
    return [host.python, "-I", "-B", _WASM.origin, str(inherited.result), str(inherited.rules)]


def _program(host: Host, inherited: Descriptors) -> list[str]:
    handed_out = () if inherited.network is None else (str(inherited.network),)
    return [host.python, "-I", "-S", "-B", gvisor.PROGRAM, str(inherited.result), *handed_out]


def _seen(inherited: Descriptors) -> Iterator[str]:
    if inherited.network is not None and (certificates := find_certificates()):
        yield from ("--ro-bind", certificates, CERTIFICATES)
    yield from ("--ro-bind-data", str(inherited.program), gvisor.PROGRAM)


def walls(host: Host, limits: Limits, rules: int, seen: Iterable[str]) -> Iterator[str]:
    """A box's walls, as bwrap's arguments; `rules` is the seccomp filter, `seen` what it sees beside what all do."""
    yield from ("--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL", "--hostname", "box")
    if host.lock_userns:
        yield "--disable-userns"
    yield from ("--proc", "/proc", "--dev", "/dev", "--size", str(limits.scratch_mb << 20), "--tmpfs", "/tmp")
    yield from _programs(host)
    yield from seen
    yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp")
    for name, value in gvisor.ENVIRONMENT.items():
        yield from ("--setenv", name, value)
    yield from ("--seccomp", str(rules))


def _outside_gvisor(host: Host, inherited: Descriptors) -> Iterator[str]:
    """What gVisor's kernel has: the root of its box, and what it needs to build it, but nothing of the host either."""
    yield from ("--uid", "0", "--gid", "0", "--cap-add", "ALL", "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp")
    for folder in ("dev", "proc", "sys", "tmp"):
        yield from ("--dir", f"{gvisor.ROOT}/{folder}")
    yield from _programs(host, gvisor.ROOT)
    yield from ("--perms", "0444", "--ro-bind-data", str(inherited.program), gvisor.ROOT + gvisor.PROGRAM)
    yield from ("--ro-bind-data", str(inherited.rules), f"{gvisor.BOX}/config.json")


def _programs(host: Host, root: str = "") -> Iterator[str]:
    """Programs and libraries."""
    yield from ("--ro-bind", "/usr", f"{root}/usr")
    for folder in ("/bin", "/lib", "/lib64"):
        if os.path.islink(folder):
            yield from ("--symlink", os.readlink(folder), root + folder)
        elif os.path.isdir(folder):
            yield from ("--ro-bind", folder, root + folder)
    if host.prefix:
        yield from ("--ro-bind", host.prefix, root + host.prefix)
