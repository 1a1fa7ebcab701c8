"""For tests of the sandbox: the same attack in a box, and without one, where it has to succeed; gVisor, built once."""

from __future__ import annotations

import faulthandler
import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from subprocess import DEVNULL
from tempfile import TemporaryDirectory, TemporaryFile
from typing import Any

import pytest

from dominie_tool.sandbox import inside
from dominie_tool.sandbox.call import call
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.values import Fault, Host, Limits, Outcome

SMALL = Limits(time_s=30, memory_mb=64, processes=16, output_bytes=20_000, scratch_mb=4)
LAVISH = Limits(time_s=1000, memory_mb=8192, processes=4096, scratch_mb=4096)
_GVISOR = "v0.0.0-20260905035102-160fafc42237"
_CACHE = Path.home() / ".cache/dominie-tests"
_BUILD_S = 900


def machine(*, cgroup: bool = True) -> Host:
    """What this machine has, or the same without cgroups."""
    host = survey()
    assert isinstance(host, Host)
    return host if cgroup else replace(host, cgroups=None)


async def boxed(
    source: str, limits: Limits = SMALL, *, cgroup: bool = True, host: Host | None = None, **arguments: object
) -> Outcome:
    """Call `attack` in a box that is told nothing of what the machine lacks, so that a missing layer shows."""
    host = host or machine()
    return await call(host if cgroup else replace(host, cgroups=None), limits, _work(source, arguments))


def gvisor() -> str:
    """gVisor's program, built once for all tests to come where this machine has none; else the test is left out.

    It takes some minutes, which is longer than a test may: the test that waits for it has a time-out of its own.
    """
    faulthandler.cancel_dump_traceback_later()
    if isinstance(found := survey(), Fault):
        pytest.skip(f"NO SANDBOX IS TESTED HERE: {found.reason}")
    runsc = os.environ.get("DOMINIE_TOOL_RUNSC") or shutil.which("runsc") or _built()
    found = survey("runsc", runsc)
    if isinstance(found, Fault):
        assert "did not hold" not in found.reason, found
        pytest.skip(f"NO GVISOR IS TESTED HERE: {found.reason}")
    return runsc


def _built() -> str:
    program = _CACHE / f"runsc-{_GVISOR}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with (_CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            _build(program)
    return str(program)


def _build(program: Path) -> None:
    go = shutil.which("go")
    if go is None:
        pytest.skip("NO GVISOR IS TESTED HERE: neither runsc is there, nor Go to build it with")
    with TemporaryDirectory(dir=_CACHE) as folder:
        environment = os.environ | {"CGO_ENABLED": "0", "GOBIN": folder}
        command = [go, "install", "-ldflags=-s -w", f"gvisor.dev/gvisor/runsc@{_GVISOR}"]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=_BUILD_S, check=False, cwd=folder
        )
        if done.returncode:
            pytest.skip(f"NO GVISOR IS TESTED HERE: it cannot be built: {done.stderr[-500:]}")
        (Path(folder) / "runsc").rename(program)


def unboxed(source: str, *, timeout_s: float = 60, **arguments: object) -> dict[str, Any]:
    """The positive control: the same program runs the same function, with nothing around it.

    Raises:
        subprocess.TimeoutExpired: It does not end.
    """
    with TemporaryFile() as result, TemporaryFile() as given:
        given.write(json.dumps({**_work(source, arguments), "limits": asdict(LAVISH)}).encode())
        given.seek(0)
        fd = result.fileno()
        program = [sys.executable, inside.__file__, str(fd)]
        process = subprocess.Popen(
            program, stdin=given, stdout=DEVNULL, stderr=DEVNULL, pass_fds=[fd], start_new_session=True
        )
        try:
            process.wait(timeout_s)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # what it left as well
            process.wait()
        result.seek(0)
        answer: dict[str, Any] = json.loads(result.read().split(b"\n")[2])
    return answer


def _work(source: str, arguments: Mapping[str, object]) -> dict[str, object]:
    return {"source": source, "function": "attack", "arguments": arguments, "context": {}}
