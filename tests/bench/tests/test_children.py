"""A benchmark that is interrupted leaves no process and no folder."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

PARENT = """
import sys, time
from dominie_bench.children import child
with child(sys.executable, "-c", "import time; print('begun', flush=True); time.sleep(600)"):
    time.sleep(600)
"""
GONE_S = 60.0

pytestmark = pytest.mark.timeout(120)


@contextmanager
def started(*command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], number: signal.Signals) -> list[psutil.Process]:
    """What is left of its children once it was sent a signal."""
    children = psutil.Process(process.pid).children(recursive=True)
    assert children
    process.send_signal(number)
    _, left = psutil.wait_procs([*children, psutil.Process(process.pid)], GONE_S)
    return left


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("shell", [(), ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")], ids=["plain", "in-background"])
def test_a_benchmark_that_is_interrupted_cleans_up(
    number: signal.Signals, shell: tuple[str, ...], tmp_path: Path
) -> None:
    dominie = str(Path(sys.executable).with_name("dominie"))
    with started(*shell, dominie, "bench", "governed-call", "--calls", "1000000", folder=tmp_path) as process:
        assert process.stdout is not None and process.stdout.readline().startswith("floor:")
        assert ended(process, number) == []
        assert list(tmp_path.iterdir()) == []


def test_what_a_killed_benchmark_had_started_ends_with_it(tmp_path: Path) -> None:
    with started(sys.executable, "-c", PARENT, folder=tmp_path) as process:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        assert ended(process, signal.SIGKILL) == []
