"""What this machine offers to build boxes with, found out by building one and asking what holds it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.util import find_spec

import anyio

from dominie_contracts.tool import Backend
from dominie_tool.sandbox.call import call
from dominie_tool.sandbox.cgroup import find_parents, sweep
from dominie_tool.sandbox.known import Known
from dominie_tool.sandbox.remedies import RUNSC, for_namespaces
from dominie_tool.sandbox.seccomp import seccomp_filter
from dominie_tool.sandbox.values import WASM, Fault, Host, Layer, Limits, Outcome, SandboxUnavailable

_OLDEST = (3, 11)
_NEWEST_MINOR = 20
_PROBE_S = 30.0
_LIMITS = Limits(time_s=_PROBE_S)
_PROBE = """
import os, resource, sys
def facts():
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))
    said = {name: text.strip() for name, text in status.items()}
    scratch = os.statvfs("/tmp")
    return {
        "python": sys.version_info[:2],
        "gvisor": os.uname().release.endswith("-gvisor"),
        "uid": os.getuid() != 0 and said["NoNewPrivs"] == "1" and not int(said["CapEff"] + said["CapBnd"], 16),
        "seccomp": said["Seccomp"] == "2",
        "namespaces": os.getpid() < 9 and [line.split(":")[0].strip() for line in open("/proc/net/dev")][2:] == ["lo"],
        "rlimits": resource.getrlimit(resource.RLIMIT_AS)[1] >> 20,
        "scratch": scratch.f_blocks * scratch.f_frsize >> 20,
    }
"""
_WASM_PROBE = """(module
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $folder (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\04\\00\\00\\00") (data (i32.const 16) "true")
  (func (export "_start")
    (if (i32.eqz (call $folder (i32.const 3) (i32.const 32))) (then unreachable))
    (if (i32.ne (memory.grow (i32.const {pages})) (i32.const -1)) (then unreachable))
    (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
"""It sees no folder, and gets no memory above its limit."""


def survey(backend: Backend = "bubblewrap", runsc: str = "runsc") -> Host | Fault:
    """What to build a box with, or why none can be built. Boxes are really built to find out.

    Args:
        backend: What builds the box.
        runsc: gVisor's program, a path or a name on PATH.
    """
    return _known.get(backend, runsc)


def _look(backend: Backend, runsc: str) -> Host | Fault:
    return _wasmtime() if backend == "wasmtime" else _survey(_plain(), runsc if backend == "runsc" else None)


_known = Known(_look, lambda host: host.cgroups is not None or find_parents() is None)


def _survey(plain: Host | Fault, runsc: str | None) -> Host | Fault:
    if isinstance(plain, Fault):
        return plain
    if runsc is None:
        return _build(plain)
    path = shutil.which(runsc)
    return _build(replace(plain, runsc=path)) if path else Fault("runsc", f"{runsc!r} is not installed; {RUNSC}")


def _plain() -> Host | Fault:
    if not sys.platform.startswith("linux"):
        return Fault("bubblewrap", "a sandbox needs Linux; use a worker tool instead")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return Fault("bubblewrap", "bubblewrap is not installed; install the package 'bubblewrap'")
    setpriv = shutil.which("setpriv") if os.geteuid() == 0 else None
    if os.geteuid() == 0 and setpriv is None:
        why = "the service runs as root and setpriv, which drops it, is not installed; install the package 'util-linux'"
        return Fault("uid", why)
    try:
        seccomp_filter()
    except SandboxUnavailable as error:
        return Fault("seccomp", error.reason)
    usage = subprocess.run([bwrap, "--help"], capture_output=True, text=True, timeout=_PROBE_S).stdout
    return Host(bwrap, "", None, setpriv, "--disable-userns" in usage, find_parents())


def _wasmtime() -> Host | Fault:
    if not sys.platform.startswith("linux"):
        return Fault("wasmtime", "a sandbox needs Linux; use a worker tool instead")
    if find_spec("wasmtime") is None:
        return Fault("wasmtime", "wasmtime is not installed; install the package 'dominie-tool[wasm]'")
    try:
        seccomp_filter()
    except SandboxUnavailable as error:
        return Fault("seccomp", error.reason)
    return _build(Host("", "", None, None, False, find_parents(), wasm=True))


def _build(plain: Host) -> Host | Fault:
    faults = []
    for host in _candidates(plain):
        fault = _try(host)
        if fault is None:
            return host
        faults.append(fault)
    return faults[0]


def _candidates(plain: Host) -> Iterator[Host]:
    if plain.cgroups:
        sweep(plain.cgroups)
    for python, prefix in [(sys.executable, None)] if plain.wasm else _pythons():
        host = replace(plain, python=python, prefix=prefix)
        if host.cgroups:
            yield host
        yield replace(host, cgroups=None)


def _pythons() -> Iterator[tuple[str, str | None]]:
    """Interpreters that a box can have: the system's, which come with `/usr`, then the one that runs this."""
    names = ["python3", *(f"python3.{minor}" for minor in range(_NEWEST_MINOR, _OLDEST[1] - 1, -1))]
    paths = [os.path.realpath(f"{folder}/{name}") for folder in ("/usr/bin", "/usr/local/bin") for name in names]
    for path in dict.fromkeys(paths):
        if os.path.exists(path) and path.startswith("/usr/"):
            yield path, None
    own = os.path.realpath(sys.executable)
    if not own.startswith("/usr/"):
        yield own, os.path.realpath(sys.base_prefix)


def _try(host: Host) -> Fault | None:
    """Why no box can be built of this, or None. In a thread with a loop of its own: the caller's may be running."""
    with ThreadPoolExecutor(1) as thread:
        try:
            outcome = thread.submit(anyio.run, _probe, host).result()
        except SandboxUnavailable as error:
            if host.wasm:
                return Fault("wasmtime", error.reason)
            return Fault("runsc" if host.runsc else "namespaces", f"{error.reason}; {for_namespaces()}")
    if not isinstance(outcome.value, dict):
        return Fault("namespaces", f"a box could not run {host.python!r}: {outcome.detail}")
    return missing_in(outcome.value, host)


def missing_in(facts: Mapping[str, object], host: Host) -> Fault | None:
    """What a box itself does not see of the layers that shall hold it; None when they are all there."""
    if host.wasm:
        lacks = next((layer for layer in WASM if not facts[layer]), None)
        return Fault(lacks, f"a box was built, and {lacks} did not hold in it; report this") if lacks else None
    version = facts["python"]
    if not isinstance(version, list) or tuple(version) < _OLDEST:
        return Fault("namespaces", f"{host.python!r} is older than 3.11; install Python 3.11 or later in /usr/bin")
    held: dict[Layer, bool] = {
        "uid": facts["uid"] is True,
        "gvisor": facts["gvisor"] is (host.runsc is not None),
        "seccomp": facts["seccomp"] is True,
        "namespaces": facts["namespaces"] is True,
        "rlimits": facts["rlimits"] == _LIMITS.memory_mb,
        "scratch": facts["scratch"] == _LIMITS.scratch_mb,
    }
    lacking = next((layer for layer, there in held.items() if not there), None)
    return Fault(lacking, f"a box was built, and {lacking} did not hold in it; report this") if lacking else None


async def _probe(host: Host) -> Outcome:
    source = _WASM_PROBE.format(pages=_LIMITS.memory_mb << 4) if host.wasm else _PROBE
    work: dict[str, object] = {
        "source": source,
        "function": "" if host.wasm else "facts",
        "arguments": {},
        "context": {},
    }
    return await call(host, _LIMITS, work)
