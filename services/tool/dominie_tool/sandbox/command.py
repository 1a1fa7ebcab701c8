"""The command that starts a box: a shell line joins the cgroup, setpriv drops root, bwrap closes the rest off."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from dominie_tool.sandbox.cgroup import Cgroup
from dominie_tool.sandbox.values import ALWAYS, Host, Layer, Limits

NOBODY = 65534
_JOIN = 'set -e; while [ "$1" != -- ]; do echo 0 > "$1"; shift; done; shift; exec "$@"'
_PROGRAM = "/run/inside.py"


@dataclass(frozen=True, slots=True)
class Descriptors:
    """What a box inherits.

    Attributes:
        program: The program inside, to read.
        seccomp: The filter, to read.
        info: Where bwrap writes its first process' id.
        result: Where the program inside writes its result.
    """

    program: int
    seccomp: int
    info: int
    result: int

    def all(self) -> tuple[int, ...]:
        """All of them."""
        return self.program, self.seccomp, self.info, self.result


def layers(host: Host) -> tuple[Layer, ...]:
    """What a box on this host is held by: the command insists on each, and no tool runs where one fails."""
    return (*ALWAYS, "cgroup") if host.cgroups else ALWAYS


def command(host: Host, limits: Limits, inherited: Descriptors, cgroup: Cgroup | None) -> list[str]:
    """The whole command."""
    line: list[str] = ["/bin/sh", "-c", _JOIN, "sh", *(cgroup.joins() if cgroup else ()), "--"]
    if host.setpriv:
        line += [host.setpriv, f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
    inside = [host.python, "-I", "-S", "-B", _PROGRAM, str(inherited.result)]
    return [*line, host.bwrap, *_arguments(host, limits, inherited), "--", *inside]


def _arguments(host: Host, limits: Limits, inherited: Descriptors) -> Iterator[str]:
    yield from ("--unshare-all", "--unshare-user", "--die-with-parent", "--new-session", "--clearenv")
    yield from ("--uid", str(NOBODY), "--gid", str(NOBODY), "--cap-drop", "ALL", "--hostname", "box")
    if host.lock_userns:
        yield "--disable-userns"
    yield from _files(host, limits)
    yield from ("--ro-bind-data", str(inherited.program), _PROGRAM)
    yield from ("--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp")
    for name, value in {"PATH": "/usr/bin", "HOME": "/tmp", "LANG": "C.UTF-8", "MALLOC_ARENA_MAX": "1"}.items():
        yield from ("--setenv", name, value)
    yield from ("--seccomp", str(inherited.seccomp), "--info-fd", str(inherited.info))


def _files(host: Host, limits: Limits) -> Iterator[str]:
    """Programs and libraries, a process list of its own, and the scratch folder."""
    yield from ("--ro-bind", "/usr", "/usr")
    for folder in ("/bin", "/lib", "/lib64"):
        if os.path.islink(folder):
            yield from ("--symlink", os.readlink(folder), folder)
        elif os.path.isdir(folder):
            yield from ("--ro-bind", folder, folder)
    yield from ("--proc", "/proc", "--dev", "/dev", "--size", str(limits.scratch_mb << 20), "--tmpfs", "/tmp")
    if host.prefix:
        yield from ("--ro-bind", host.prefix, host.prefix)
