"""What a box is made of, and what comes out of it.

SandboxUnavailable   this machine cannot hold a box
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

Layer: TypeAlias = Literal["uid", "gvisor", "wasm", "seccomp", "namespaces", "rlimits", "scratch", "cgroup"]
"""What stands between a tool and the machine.

`uid`: not the host's root, and no capability. `gvisor`: system calls are answered by a kernel of its own. `wasm`: it
is WebAssembly, which has no system calls, files or network. `seccomp`: no system calls but those on a list.
`namespaces`: no network, no host processes, no files but a read-only `/usr` and a scratch folder. `rlimits`: bounds of
one process. `scratch`: the size of that folder. `cgroup`: bounds of all processes together; without it there is one
process alone.
"""
NOBODY = 65534
ALWAYS: tuple[Layer, ...] = ("uid", "seccomp", "namespaces", "rlimits", "scratch")
"""Without any of these there is no box."""
WASM: tuple[Layer, ...] = ("uid", "wasm", "seccomp", "rlimits")
"""The same of a box for WebAssembly, which needs nothing of bubblewrap."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one run.

    Attributes:
        time_s: From the start of the box to the result, by the clock on the wall.
        memory_mb: Of each process and, where there is a cgroup, of all together, the scratch folder included.
        processes: Processes and threads at once.
        output_bytes: What is printed and the result, together.
        scratch_mb: The size of `/tmp`, the one folder a tool can write to.
    """

    time_s: float = 5.0
    memory_mb: int = 256
    processes: int = 32
    output_bytes: int = 131072
    scratch_mb: int = 16

    @property
    def alone(self) -> Limits:
        """The same where no cgroup bounds all processes together: one process, which rlimits bound."""
        return replace(self, processes=1)


@dataclass(frozen=True, slots=True)
class Own:
    """What the box itself needs of a cgroup, beside the tool.

    Attributes:
        memory_mb: Of memory.
        processes: Processes and threads.
        threads: For each process or thread of the tool.
    """

    memory_mb: int
    processes: int
    threads: int


@dataclass(frozen=True, slots=True)
class CgroupParents:
    """The folders in which a box's cgroups can be made.

    Attributes:
        version: 1 has a folder for memory and one for pids, 2 has one for both.
        memory: The folder for memory.
        pids: The folder for processes; with version 2 the same.
    """

    version: Literal[1, 2]
    memory: Path
    pids: Path


@dataclass(frozen=True, slots=True)
class Host:
    """What this machine offers to build a box with.

    Attributes:
        bwrap: The program's path.
        python: The interpreter's path, the same inside and outside.
        prefix: The interpreter's own folder, where it is not in `/usr`.
        setpriv: The program that drops the host's root, where the service has it.
        lock_userns: Whether this bwrap can forbid user namespaces inside.
        cgroups: Where cgroups can be made, if anywhere.
        runsc: gVisor's program, where the box has its kernel.
        wasm: Whether the box is for WebAssembly, and then a process without bubblewrap.
    """

    bwrap: str
    python: str
    prefix: str | None = None
    setpriv: str | None = None
    lock_userns: bool = False
    cgroups: CgroupParents | None = None
    runsc: str | None = None
    wasm: bool = False

    @property
    def own(self) -> Own:
        """What a box needs for itself: the launcher becomes bwrap, whose first process lives beside the tool's."""
        if self.wasm:
            return Own(160, 16 + 2 * (os.cpu_count() or 1), 1)
        return Own(48, 60 + 4 * (os.cpu_count() or 1), 3) if self.runsc else Own(0, 4, 1)


@dataclass(frozen=True, slots=True)
class Fault:
    """Why no box can be built here.

    Attributes:
        part: What is missing.
        reason: Why, and what to do about it.
    """

    part: Layer | Literal["bubblewrap", "runsc", "wasmtime"]
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one run came to.

    Attributes:
        status: `ok`; `error` (the tool said that it failed); `died`, without a word; or the limit that ended it.
        value: What the tool returned, as JSON; None unless `ok`.
        detail: Why it did not end well; empty when `ok`.
        layers: What held it.
    """

    status: Literal["ok", "error", "died", "timeout", "memory", "output"]
    value: object
    detail: str
    layers: tuple[Layer, ...]

    @property
    def is_told(self) -> bool:
        """Whether the tool itself said how it went."""
        return self.status in ("ok", "error")


class SandboxUnavailable(Exception):
    """This machine cannot hold a box.

    Attributes:
        reason: Why, and what to do about it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"sandboxed tools cannot run here: {reason}")
        self.reason = reason
