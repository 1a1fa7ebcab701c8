"""Identity away for a while, and rights that end every two seconds: live agents notice neither."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import chdir, contextmanager, suppress
from pathlib import Path

import pytest

import dominie
from dominie_kit.errors import NotUp
from dominie_kit.house.plan import DEFAULT_RIGHTS_S
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(90)
SERVICES = ("identity", "guardrail", "memory")
AWAY_S = 5.0
RIGHTS_S, RENEWALS = 2.0, 20


@contextmanager
def running(folder: Path, *, rights_s: float = DEFAULT_RIGHTS_S) -> Iterator[System]:
    """As little of the system as an agent needs to remember something."""
    (folder / "project").mkdir()
    with System(folder / "project", keys=folder / "keys", services=SERVICES, rights_s=rights_s) as found:
        yield found


def client_of(system: System, name: str) -> dominie.Client:
    with chdir(system.plan.folder):
        return dominie.Client(name)


class Calls:
    """An agent that remembers and recalls, on and on, in a thread of its own."""

    def __init__(self, client: dominie.Client) -> None:
        self.done = 0
        self.slowest_s = 0.0
        self.failed: Exception | None = None
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._go_on)

    def __enter__(self) -> "Calls":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        assert self.failed is None, self.failed

    def wait(self, more: int) -> None:
        """Until so many more have been answered."""
        until = self.done + more
        while self.done < until and self.failed is None:
            time.sleep(0.005)

    def _go_on(self) -> None:
        try:
            with self._client.run(user="dev") as run:
                while not self._stop.is_set():
                    began_s = time.monotonic()
                    text = f"number {self.done}"
                    assert run.remember(text)
                    assert run.recall(text, limit=1)
                    self.slowest_s = max(self.slowest_s, time.monotonic() - began_s)
                    self.done += 1
        except Exception as error:
            self.failed = error


def stop(system: System) -> Callable[[], None]:
    """Have identity hear nothing, until what is returned is called."""
    pid = system.kill("identity", signal.SIGSTOP)
    return lambda: os.kill(pid, signal.SIGCONT)


def kill_again_and_again(system: System) -> Callable[[], None]:
    """Have identity die, and die again whenever it is back, until what is returned is called."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            with suppress(NotUp):
                system.kill("identity")
            over.wait(0.02)

    thread = threading.Thread(target=go_on)
    thread.start()

    def end() -> None:
        over.set()
        thread.join()

    return end


@pytest.mark.parametrize("take_away", [stop, kill_again_and_again])
def test_identity_away_for_five_seconds(take_away: Callable[[System], Callable[[], None]], tmp_path: Path) -> None:
    with running(tmp_path) as system, client_of(system, "living") as living, client_of(system, "late") as late:
        late.close()
        with Calls(living) as calls:
            calls.wait(3)
            give_back = take_away(system)
            try:
                before, until_s = calls.done, time.monotonic() + AWAY_S
                new = client_of(system, "late")
                connected: list[float] = []

                def connect() -> None:
                    new.open()
                    connected.append(time.monotonic())

                opening = threading.Thread(target=connect)
                opening.start()
                while time.monotonic() < until_s and calls.failed is None:
                    calls.wait(1)
                assert calls.done > before + 3
                assert not connected
            finally:
                back_s = time.monotonic()
                give_back()
            opening.join(30)
            assert connected and connected[0] > back_s
            with new, new.run(user="dev") as run:
                assert run.remember("I am here now")
            calls.wait(3)


def test_twenty_renewals_fail_no_call(tmp_path: Path) -> None:
    with running(tmp_path, rights_s=RIGHTS_S) as system, client_of(system, "renewing") as client:
        assert client.credentials.rights_s == RIGHTS_S
        began_s, seen = time.monotonic(), set[object]()
        with Calls(client) as calls:
            while len(seen) <= RENEWALS and calls.failed is None:
                calls.wait(1)
                seen.add(_connection(client))
        assert time.monotonic() - began_s > RENEWALS * RIGHTS_S / 3
        assert calls.slowest_s < RIGHTS_S


def _connection(client: dominie.Client) -> object:
    """The connection that is used now: nobody but the link knows it."""
    link = client._async._link
    assert link is not None
    return link._current
