"""For tests of the sandbox: the same attack in a box, and without one, where it has to succeed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from subprocess import DEVNULL
from tempfile import TemporaryFile
from typing import Any

from dominie_tool.sandbox import inside
from dominie_tool.sandbox.call import call
from dominie_tool.sandbox.host import survey
from dominie_tool.sandbox.values import Host, Limits, Outcome

SMALL = Limits(time_s=30, memory_mb=64, processes=16, output_bytes=20_000, scratch_mb=4)
LAVISH = Limits(time_s=1000, memory_mb=8192, processes=4096, scratch_mb=4096)


def machine(*, cgroup: bool = True) -> Host:
    """What this machine has, or the same without cgroups."""
    host = survey()
    assert isinstance(host, Host)
    return host if cgroup else replace(host, cgroups=None)


async def boxed(source: str, limits: Limits = SMALL, *, cgroup: bool = True, **arguments: object) -> Outcome:
    """Call `attack` in a box that is told nothing of what the machine lacks, so that a missing layer shows."""
    return await call(machine(cgroup=cgroup), limits, _work(source, arguments))


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
