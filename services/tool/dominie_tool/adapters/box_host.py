"""What this machine offers to build boxes with, found out by building one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache
from threading import Lock

import anyio

from dominie_tool.adapters.box_call import call
from dominie_tool.adapters.box_cgroup import find_parents, sweep
from dominie_tool.adapters.box_types import Host, Limits, Outcome, SandboxUnavailable

_OLDEST = (3, 11)
_NEWEST_MINOR = 20
_PROBE = {"source": "import sys\ndef version(): return sys.version_info[:2]", "function": "version"}
_PROBE_S = 10.0
_one_at_a_time = Lock()


def survey() -> Host | str:
    """What to build a box with, or why none can be built. Boxes are really built to find out, once a process."""
    with _one_at_a_time:
        return _survey()


@cache
def _survey() -> Host | str:
    if not sys.platform.startswith("linux"):
        return "a sandbox needs Linux; use a worker tool instead"
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        return "bubblewrap is not installed; install the package 'bubblewrap'"
    setpriv = shutil.which("setpriv") if os.geteuid() == 0 else None
    if os.geteuid() == 0 and setpriv is None:
        return (
            "the service runs as root and setpriv, which drops it, is not installed; install the package 'util-linux'"
        )
    usage = subprocess.run([bwrap, "--help"], capture_output=True, text=True, timeout=_PROBE_S).stdout
    plain = Host(bwrap, "", None, setpriv, "--disable-userns" in usage, find_parents())
    faults = []
    for host in _candidates(plain):
        fault = _try(host)
        if fault is None:
            return host
        faults.append(fault)
    return f"{faults[0]} (a box needs user namespaces, and Python 3.11 or later in /usr/bin)"


def _candidates(plain: Host) -> Iterator[Host]:
    if plain.cgroups:
        sweep(plain.cgroups)
    for python, prefix in _pythons():
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


def _try(host: Host) -> str | None:
    """Why no box can be built of this, or None. In a thread with a loop of its own: the caller's may be running."""
    with ThreadPoolExecutor(1) as thread:
        try:
            outcome = thread.submit(anyio.run, _probe, host).result()
        except SandboxUnavailable as fault:
            return fault.reason
    version = outcome.value
    if outcome.status != "ok" or not isinstance(version, list):
        return f"a box could not run {host.python!r}: {outcome.detail}"
    return None if tuple(version) >= _OLDEST else f"{host.python!r} is older than 3.11"


async def _probe(host: Host) -> Outcome:
    return await call(host, Limits(time_s=_PROBE_S), {**_PROBE, "arguments": {}, "context": {}})
