"""One service in a process of its own, forked from the fork server."""

import multiprocessing
import os
import pkgutil
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import anyio

from dominie_kit.house.plan import Plan
from dominie_kit.house.processes import call_itself, die_with_parent
from dominie_kit.logs import OURS, where

FORK_SERVER = "dominie_kit.house.fork_server"
_LOG_BYTES = 16 * 2**20
_REASON_CHARS = 1000
"""What fits in a pipe that nobody reads yet."""
_FORK = multiprocessing.get_context("forkserver")


def start_fork_server(preload: str) -> None:
    """Start the process that services are forked from; it imports what they share meanwhile."""
    from multiprocessing import forkserver

    _FORK.set_forkserver_preload([FORK_SERVER, preload])
    forkserver.ensure_running()


class ServiceProcess:
    """A service's process, seen from the supervisor."""

    def __init__(self, name: str, plan: Plan, environment: Mapping[str, str], log: Path) -> None:
        self.name, self.log = name, log
        self._ready, told = _FORK.Pipe(duplex=False)
        self._process: ForkServerProcess = _FORK.Process(
            target=_run, args=(name, plan.runner, plan.preload, dict(environment), log, told), name=name
        )
        try:
            self._process.start()
        except BaseException:
            self._ready.close()
            raise
        finally:
            told.close()
        self.pid = self._process.pid or 0
        self.reason = ""
        """Why it ended, in its own words; known once it is reaped, if it could say so."""

    async def until_ready(self) -> bool:
        """Wait until it takes commands; False if it ended before."""
        await anyio.wait_readable(self._ready.fileno())
        return self._heard()

    async def until_dead(self) -> None:
        """Wait until it has ended."""
        await anyio.wait_readable(self._process.sentinel)

    def stop(self) -> None:
        """Ask it to end."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGTERM)

    def kill(self) -> None:
        """End it, and all that it started."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def reap(self) -> str:
        """How it ended; what it started and left behind ends too."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.join(1.0)
        code = self._process.exitcode
        if self._ready.poll():
            self._heard()
        self._ready.close()
        if code is not None:
            self._process.close()
        if code is not None and code < 0:
            return f"was ended by {signal.Signals(-code).name}"
        return f"ended with code {code}" + (f" ({self.reason})" if self.reason else "")

    def _heard(self) -> bool:
        """Hear it once; whether that was that it is ready."""
        try:
            said = self._ready.recv()
        except (EOFError, OSError):
            return False
        self.reason = said if isinstance(said, str) else ""
        return said is True


def reason_of(error: BaseException) -> str:
    """The first error that a program ended with, in one line; in words where they are ours or the system's.

    Others may quote what somebody said.
    """
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if not (isinstance(error, OSError) or type(error).__module__.startswith(OURS)):
        return type(error).__name__
    return f"{type(error).__name__}: {error}".partition("\n")[0][:_REASON_CHARS]


def last_line(log: Path) -> str:
    """The last line that a log holds."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4096))
            lines = file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""


def _run(name: str, runner: str, preload: str, environment: dict[str, str], log: Path, ready: Connection) -> None:
    """The whole life of a service's process."""
    die_with_parent()
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():
        return
    os.setsid()
    call_itself(f"dom-{name}")
    _redirect(log)
    for module in (FORK_SERVER, preload):
        if module not in sys.modules:
            import_module(module)  # raises what the fork server swallowed
            raise ImportError(f"{module} was not imported by the fork server")
    os.environ.update(environment)
    try:
        pkgutil.resolve_name(runner)([name], on_ready=lambda: ready.send(True))
    except Exception as error:
        reason = reason_of(error)
        ready.send(reason)
        sys.stderr.write(f"{where(error)}\n{reason}\n")
        sys.exit(1)


def _redirect(log: Path) -> None:
    if log.exists() and log.stat().st_size > _LOG_BYTES:
        log.replace(log.with_suffix(".log.1"))
    to = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(to, 1)
    os.dup2(to, 2)
    os.close(to)
