"""A whole Dominie from Python: what the demo, the benchmarks and the tests start, hurt and stop."""

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from pydantic import ValidationError

from dominie.passphrases import PASSPHRASE_FILE, passphrase_of
from dominie_contracts.subjects import SERVICES
from dominie_kit.errors import KitError, NotUp, StartFailed
from dominie_kit.house.plan import BROKER, DEFAULT_RIGHTS_S, Plan
from dominie_kit.house.service_process import last_line
from dominie_kit.house.state import NotStarted, Running, StateFolder, Up
from dominie_kit.keys.folder import KeyFolder

LAUNCH_S = 75.0
"""More than a supervisor gives its services."""
STOP_S = 30.0
_POLL_S = 0.02


def command(plan: Plan) -> list[str]:
    """The command line of a plan's supervisor; `-P`: a file of the project must not shadow a module."""
    return [sys.executable, "-P", "-m", "dominie_kit", plan.model_dump_json(exclude_defaults=True)]


def hand_on(plan: Plan) -> tuple[int, ...]:
    """Have what is started next read the passphrase of the operator's key, where it has one, from a pipe.

    Returns:
        The pipe's end, which it is to inherit.

    Raises:
        KeyMissing: The key cannot be read.
        Unauthenticated, Invalid: Its passphrase is another one, or nothing says it.
    """
    path = KeyFolder(plan.keys).operator_file
    passphrase = passphrase_of(path) if path.exists() else None
    if passphrase is None:
        return ()
    reads, writes = os.pipe()
    os.write(writes, passphrase.encode())
    os.close(writes)
    os.environ[PASSPHRASE_FILE] = f"/dev/fd/{reads}"
    return (reads,)


def launch(
    plan: Plan, *, environment: Mapping[str, str] | None = None, inherited: tuple[int, ...] = ()
) -> tuple[subprocess.Popen[bytes], Up]:
    """Start a supervisor in a session of its own and wait until all is ready; it logs to `.dominie/log/up.log`.

    Raises:
        StartFailed: It ended, or was not ready in time; the text says why.
    """
    state = StateFolder(plan.folder)
    state.create()
    log = state.path / "log" / "up.log"
    with log.open("ab") as errors:
        process = subprocess.Popen(
            command(plan.model_copy(update={"report": True})),
            stdin=subprocess.PIPE if plan.until_eof else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=plan.folder,
            env=None if environment is None else {**os.environ, **environment},
            pass_fds=inherited,
            start_new_session=True,
        )
    assert process.stdout is not None
    with process.stdout as told:
        line = _read_line(told)
    try:
        return process, Up.model_validate_json(line)
    except ValidationError as error:
        end(process)
        raise StartFailed(_why(line, log)) from error


def _why(line: bytes, log: Path) -> str:
    """Why it did not start: as it said, else what its log ends with, which others may write to."""
    try:
        return NotStarted.model_validate_json(line).why
    except ValidationError:
        return last_line(log).removeprefix("dominie: ") or f"It said nothing: see {str(log)!r}"


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a supervisor and wait until it is gone."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def take_down(state: StateFolder) -> int:
    """Stop what runs in a folder, and wait until it is gone; returns the process that ended.

    Raises:
        NotUp: Nothing runs there.
    """
    pid = state.supervisor()
    if not pid:
        raise NotUp(state.project)
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.kill(pid, number)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if state.supervisor() != pid:
                state.forget()
                return pid
            time.sleep(_POLL_S)
    raise KitError(f"Process {pid} does not end: end it by hand")


class System:
    """A Dominie on this machine, for as long as the context lasts; it ends with this process, however that ends.

    Args:
        folder: The project folder.
        services: Which to run; people are registered only where identity is among them.
        keys: The folder of keys, if not the project's usual one.
        policies: A folder of `*.cedar` files.
        rights_s: How long a connection's rights last.
        environment: More variables for the services.
        more: Further fields of the plan.
    """

    def __init__(
        self,
        folder: Path,
        *,
        services: Sequence[str] = SERVICES,
        keys: Path | None = None,
        policies: Path | None = None,
        rights_s: float = DEFAULT_RIGHTS_S,
        environment: Mapping[str, str] | None = None,
        **more: object,
    ) -> None:
        folder = folder.resolve()
        usual = Plan(
            folder=folder,
            keys=(keys or KeyFolder.of(folder).path).resolve(),
            services=tuple(services),
            policies=policies and policies.resolve(),
            rights_s=rights_s,
            until_eof=True,
        )
        self.plan = usual.model_copy(update=more)
        self.keys = KeyFolder(self.plan.keys)
        self.state = StateFolder(folder)
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start everything and wait until it is ready."""
        self._process, _ = launch(self.plan, environment=self._environment)
        return self

    def stop(self) -> None:
        """Stop everything and wait until it is gone."""
        if self._process is not None:
            end(self._process)
            self._process = None

    @property
    def nats_url(self) -> str:
        """The broker's address."""
        return self.state.up().nats_url

    @property
    def gateway_url(self) -> str | None:
        """The gateway's address, where it runs."""
        return self.state.up().gateway_url

    @property
    def pid(self) -> int:
        """The supervisor's process."""
        return self.state.up().pid

    def pid_of(self, name: str) -> int:
        """The process of a service, or of the `broker`; 0 while it is down."""
        return self._running(name).pid

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> int:
        """Send a service, or the `broker`, a signal; returns the process that got it."""
        pid = self.pid_of(name)
        if not pid:
            raise NotUp(self.state.project)
        try:
            os.kill(pid, number)
        except ProcessLookupError as error:
            raise NotUp(self.state.project) from error
        return pid

    def wait_for_restart(self, name: str, *, after: int, timeout_s: float = 30.0) -> int:
        """Wait until a service is ready again in another process than `after`; returns that."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            running = self._running(name)
            if running.ready and running.pid != after:
                return running.pid
            time.sleep(_POLL_S)
        raise StartFailed(f"{name} was not ready again within {timeout_s:.0f} s")

    def _running(self, name: str) -> Running:
        up = self.state.up()
        return up.broker if name == BROKER else up.services[name]

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()


def _read_line(told: IO[bytes]) -> bytes:
    """One line, or nothing if it does not come in time."""
    return told.readline() if select.select([told], [], [], LAUNCH_S)[0] else b""
