"""Every key of a running system is replaced while agents call: no call fails, and no old key is taken afterwards."""

import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import nats.errors
import pytest
from nats.aio.client import Client as Nats

import dominie
from dominie._project import Project
from dominie.keys import KeyPair
from dominie_contracts.identity import PrincipalView, Rotate
from dominie_kit.keys import KeyFolder
from dominie_kit.operator import operator
from dominie_kit.public_keys import read_keys
from dominie_kit.rotation import rotate_callout, rotate_services, rotate_signer
from dominie_kit.system import System

pytestmark = pytest.mark.timeout(240)
AGENT = "a-load"


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with System(tmp_path, gateway_port=port) as found:
        yield found


class Load:
    """Calls of one agent, each in a run of its own, until it is told to stop."""

    def __init__(self, project: Project) -> None:
        self.done, self.failed = 0, list[dominie.Problem]()
        self._credentials, _ = project.agent_credentials(AGENT)
        self._stop = threading.Event()

    def call(self, client: dominie.Client) -> None:
        try:
            with client.run(id=uuid.uuid4().hex) as run:
                run.chat([{"role": "user", "content": "hello"}])
        except dominie.Problem as problem:
            self.failed.append(problem)
        else:
            self.done += 1

    def run(self) -> None:
        with dominie.Client(credentials=self._credentials) as client:
            while not self._stop.is_set():
                self.call(client)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        threads = [threading.Thread(target=self.run) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stop.set()
            for thread in threads:
                thread.join()


def until(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def register(project: Project, developer: dominie.Client) -> None:
    """As `dominie agent register load`."""
    from dominie._register import ALL
    from dominie_contracts.identity import Register

    keys = project.agent_credentials(AGENT)[0].keys
    command = Register(principal=AGENT, nkey=keys.public, grants=ALL, users=(project.developer,))
    developer.ask(command, PrincipalView)


def rotate_all(system: System, project: Project, developer: dominie.Client) -> None:
    """Every key that there is, by the functions behind the commands."""

    async def run() -> None:
        await rotate_callout(system.state, tell=lambda name: None)
        await rotate_services(system.state, system.plan.services, tell=lambda name: None)
        async with operator(system.nats_url, system.keys) as asking:
            await rotate_signer(asking, system.keys, overlap_s=600)

    anyio.run(run)
    next_ = project.next_keys(AGENT)
    developer.ask(Rotate(principal=AGENT, nkey=next_.public, overlap_s=600), PrincipalView)
    project.rotated(AGENT)


async def connects(url: str, keys: KeyPair) -> bool:
    """Whether the broker knows somebody from its configuration."""

    async def ignore(error: Exception) -> None:
        """It is raised, too."""

    client = Nats()
    try:
        await client.connect(url, nkeys_seed_str=keys.seed, allow_reconnect=False, error_cb=ignore)
        return True
    except (nats.errors.Error, OSError):
        return False
    finally:
        with suppress(OSError):
            await client.close()


def static_keys(folder: Path, services: tuple[str, ...]) -> list[KeyPair]:
    found = [KeyFolder(folder).service(name) for name in services]
    return [key for keys in found for key in (keys.edge, keys.inner)]


def test_every_key_is_replaced_under_load_and_no_call_fails(system: System) -> None:
    project = Project.find(system.plan.folder)
    services, folder = system.plan.services, system.plan.keys
    before = static_keys(folder, services)
    with dominie.Client(credentials=project.developer_credentials()) as developer:
        register(project, developer)
        load = Load(project)
        with load.under_way():
            until(lambda: load.done > 5)
            rotate_all(system, project, developer)
            reached = load.done
            until(lambda: load.done > reached + 20)
    assert load.failed == []
    after = static_keys(folder, services)

    async def check() -> None:
        assert [await connects(system.nats_url, keys) for keys in before] == [False] * len(before)
        assert all([await connects(system.nats_url, keys) for keys in after])
        async with operator(system.nats_url, system.keys) as asking:
            listed = (await read_keys(asking.client))["keys"]
        assert {keys.public for keys in after} <= {key["nkey"] for key in listed if "exp" not in key}
        assert {key["for"] for key in listed} == {"signer", "callout", "service"}

    anyio.run(check)
    assert not list((folder / "services" / "old").iterdir())


def test_a_rotation_that_ended_halfway_leaves_every_key_good_and_is_done_again(system: System) -> None:
    keys = KeyFolder(system.plan.keys)
    first = keys.service("tool")
    keys.replace_service("tool")
    keys.replace_service("tool")
    gone = system.kill("broker")
    system.wait_for_restart("broker", after=gone)
    now = KeyFolder(system.plan.keys).service("tool")

    async def check() -> None:
        assert await connects(system.nats_url, first.inner) and await connects(system.nats_url, now.inner)
        await rotate_services(system.state, ("tool",), tell=lambda name: None)
        assert not await connects(system.nats_url, first.inner) and not await connects(system.nats_url, now.inner)

    anyio.run(check)
