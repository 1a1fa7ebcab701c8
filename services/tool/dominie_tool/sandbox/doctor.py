"""What this machine has of a sandbox, layer by layer, and what to do about what it lacks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

from dominie_kit.house.doctor import Check
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.remedies import CGROUP
from dominie_tool.sandbox.seccomp import ALLOWED
from dominie_tool.sandbox.values import ALWAYS, Fault, Host, Limits
from dominie_tool.settings import Settings

_PARTS = ("bubblewrap", *ALWAYS, "cgroup")
_FOUND = {
    "uid": "not the host's root, no capability, none to gain",
    "seccomp": f"{len(ALLOWED)} system calls and those of this machine alone; every other one is refused",
    "namespaces": "no network, no host processes, no host files but /usr, read-only",
    "rlimits": "time of the processor, memory, open files, the size of a file",
    "scratch": f"/tmp of {Limits().scratch_mb} MB",
}


def examine() -> Iterator[Check]:
    """Every part of a sandbox, in the order in which they are needed. Builds a box to find out."""
    found = survey()
    for part in _PARTS:
        if isinstance(found, Fault) and found.part == part:
            yield Check(f"sandbox: {part}", holds=False, todo=found.reason)
            return  # what comes after it cannot be told
        yield _cgroup(found) if part == "cgroup" and isinstance(found, Host) else _held(part)
    yield _gvisor(Settings())
    yield _wasmtime()


def _held(part: str) -> Check:
    return Check(f"sandbox: {part}", holds=True, found=_FOUND.get(part) or _version())


def _cgroup(host: Host) -> Check:
    if host.cgroups is None:
        return Check("sandbox: cgroup", holds=False, todo=CGROUP)
    where = dict.fromkeys((str(host.cgroups.memory), str(host.cgroups.pids)))
    return Check("sandbox: cgroup", holds=True, found=f"version {host.cgroups.version}, in {', '.join(where)}")


def _gvisor(settings: Settings) -> Check:
    found = survey("runsc", settings.tool_runsc)
    if isinstance(found, Host):
        return Check(
            "sandbox: runsc", holds=True, found=f"gVisor's kernel around a tool that asks for it, {found.runsc}"
        )
    needed = settings.tool_sandbox_backend == "runsc"
    return Check("sandbox: runsc", holds=False, todo=found.reason, needed=needed)


def _wasmtime() -> Check:
    found = survey("wasmtime")
    if isinstance(found, Fault):
        return Check("sandbox: wasmtime", holds=False, todo=found.reason, needed=False)
    return Check("sandbox: wasmtime", holds=True, found="WebAssembly modules, without files or a network")


def _version() -> str:
    bwrap = shutil.which("bwrap") or "bwrap"
    return subprocess.run([bwrap, "--version"], capture_output=True, text=True, timeout=10).stdout.strip()
