"""A control group of one run: what all its processes together may use. Versions 1 and 2 (cgroups(7))."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Literal

from dominie_tool.sandbox.values import CgroupParents, Limits, Own

_CLOSE_S = 2.0
_numbers = count()


@dataclass(frozen=True, slots=True)
class Cgroup:
    """One run's cgroup, while there is one.

    Attributes:
        version: Of cgroups.
        memory: Its folder for memory.
        pids: Its folder for processes; with version 2 the same.
        own: What the box itself needs of it.
    """

    version: Literal[1, 2]
    memory: Path
    pids: Path
    own: Own

    @classmethod
    def make(cls, parents: CgroupParents, limits: Limits, own: Own) -> Cgroup:
        """Make a cgroup for a tool with these limits, empty.

        Raises:
            OSError: It cannot be made here.
        """
        name = f"dominie-{os.getpid()}-{begun(os.getpid())}-{next(_numbers)}"
        memory, pids = parents.memory / name, parents.pids / name
        made = cls(parents.version, memory, pids, own)
        try:
            for folder in made.folders():
                folder.mkdir()
            made.bound(limits)
        except OSError:
            made.remove()
            raise
        return made

    def folders(self) -> tuple[Path, ...]:
        """Its folders."""
        return (self.memory,) if self.memory == self.pids else (self.memory, self.pids)

    def joins(self) -> tuple[str, ...]:
        """The files in which a process writes 0 to join."""
        return tuple(str(folder / "cgroup.procs") for folder in self.folders())

    def starved(self) -> bool:
        """Whether a process was killed for want of memory."""
        file = self.memory / ("memory.oom_control" if self.version == 1 else "memory.events")
        kills = (line.split() for line in file.read_text().splitlines())
        return any(words[0] == "oom_kill" and words[1] != "0" for words in kills)

    def remove(self) -> None:
        """Kill what is left inside, and remove it.

        Raises:
            OSError: It could not be removed in time.
        """
        until = time.monotonic() + _CLOSE_S
        for folder in self.folders():
            while folder.exists():
                try:
                    folder.rmdir()
                except OSError:
                    if time.monotonic() > until:
                        raise
                    _kill(folder)
                    time.sleep(0.005)  # in a thread; nothing tells when the last process has left

    def bound(self, limits: Limits) -> None:
        """Set what all in it may use together. Once it is in use, that can only become less.

        Raises:
            OSError: It uses more already.
        """
        size = str(limits.memory_mb + self.own.memory_mb << 20)
        if self.version == 1:
            _write(self.memory / "memory.limit_in_bytes", size)
            _write(self.memory / "memory.memsw.limit_in_bytes", size, optional=True)  # where swap is accounted
        else:
            _write(self.memory / "memory.max", size)
            _write(self.memory / "memory.swap.max", "0", optional=True)
        _write(self.pids / "pids.max", str(limits.processes * self.own.threads + self.own.processes))


def find_parents(proc: Path = Path("/proc/self")) -> CgroupParents | None:
    """Where this process may make cgroups: never beside, always below what bounds it itself."""
    mounts = (proc / "mountinfo").read_text().splitlines()
    own = {names: path for _, names, path in (line.split(":", 2) for line in _lines(proc / "cgroup"))}
    found: dict[str, Path] = {}
    for line in mounts:
        before, _, after = line.partition(" - ")
        root, point = before.split()[3:5]
        kind, _, options = after.split()[:3]
        names = options.split(",") if kind == "cgroup" else [""] if kind == "cgroup2" else []
        for name in {"", "memory", "pids"} & set(names):
            path = next((own[key] for key in own if name in key.split(",")), "/")
            found[name] = _folder(Path(point), root, path)
    if found.keys() >= {"memory", "pids"} and _writable(found["memory"]) and _writable(found["pids"]):
        return CgroupParents(1, found["memory"], found["pids"])
    folder = next((each for each in _upwards(found[""]) if _delegates(each)), None) if "" in found else None
    return CgroupParents(2, folder, folder) if folder else None


def sweep(parents: CgroupParents) -> None:
    """Remove the cgroups that a killed service left; in a container the next one may well have its number."""
    for parent in {parents.memory, parents.pids}:
        for folder in parent.glob("dominie-*-*-*"):
            pid, since = folder.name.split("-")[1:3]
            if pid.isdigit() and begun(int(pid)) != since:
                with suppress(OSError):  # not empty, so not left
                    folder.rmdir()


def begun(pid: int) -> str | None:
    """When a process began, in ticks since the machine did (proc(5)): that and its number name it. None: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def _folder(point: Path, root: str, path: str) -> Path:
    """Where a cgroup's path stands under a mount, which in a container may show a part of the tree alone."""
    below = os.path.relpath(path, root)
    inside = point / below
    return inside if not below.startswith("..") and inside.is_dir() else point


def _upwards(folder: Path) -> Iterator[Path]:
    """A cgroup and those that hold it. Version 2 allows children with limits only below one without processes."""
    while (folder / "cgroup.procs").exists():
        yield folder
        folder = folder.parent


def _delegates(folder: Path) -> bool:
    passed_on = (folder / "cgroup.subtree_control").read_text().split()
    return _writable(folder) and {"memory", "pids"} <= set(passed_on)


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and os.access(folder / "cgroup.procs", os.W_OK)


def _write(file: Path, text: str, *, optional: bool = False) -> None:
    if not optional or file.exists():
        file.write_text(text)


def _kill(folder: Path) -> None:
    with suppress(OSError):
        for pid in (folder / "cgroup.procs").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
