"""Processes that a benchmark starts: none outlives it, however it ends."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from dominie_kit.house.processes import die_with_parent

_STOP_S = 10.0
_ENDS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def child(
    *command: str, cwd: Path | None = None, stdout: int | None = None, stderr: int | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A process, with these of `Popen`'s options, for as long as this is open."""
    process = None
    try:
        with _uninterrupted():
            process = subprocess.Popen(command, cwd=cwd, stdout=stdout, stderr=stderr, text=True, preexec_fn=_prepare)
        yield process
    finally:
        if process is not None:
            _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.stdout is not None:
        process.stdout.close()
    process.terminate()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _prepare() -> None:
    die_with_parent()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDS)


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Let signals wait: Python ignores what is raised while it forks, Ctrl-C too."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def sigterm_as_ctrl_c() -> Iterator[None]:
    """Let whoever ends this process with a signal have it clean up after itself, as whoever presses Ctrl-C.

    A shell that starts it in the background has it ignore Ctrl-C; both would be for nothing then.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    before = {signal.SIGTERM: signal.signal(signal.SIGTERM, interrupt)}
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
