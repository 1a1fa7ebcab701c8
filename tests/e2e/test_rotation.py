"""Every key of a running system is replaced while agents call: no call fails, and no old key is taken afterwards."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import nats.errors
import pytest
from nats.aio.client import Client as Nats

import dominie
from dominie._project import Project
from dominie.keys import KeyPair
from dominie_contracts.identity import PrincipalView, Rotate
from dominie_kit.errors import RotationBusy, StartFailed
from dominie_kit.house.operator import operator
from dominie_kit.house.system import System
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.keys.public import read_keys
from dominie_kit.keys.replacing import OPERATORS, Part, Rotation
from dominie_kit.keys.rotation import rotate, rotate_signer

pytestmark = pytest.mark.timeout(480)
AGENT = "a-load"


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with System(tmp_path_factory.mktemp("rotation"), gateway_port=port) as found:
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
    deadline = time.monotonic() + 150
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
        await rotate(system.state, (Part("callout"), Part("callout-user"), Part("warden")))
        await rotate(system.state, (OPERATORS, *(Part("service", name) for name in system.plan.services)))
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
    """Everybody whom the broker knows by its configuration."""
    keys = KeyFolder(folder)
    found = [keys.service(name) for name in services]
    others = [keys.operator, keys.identity.callout_user, keys.warden]
    return [*others, *(key for each in found for key in (each.edge, each.inner))]


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

    check(system, before, after)
    assert {key["for"] for key in published(system)} == set(KINDS)
    assert not (folder / "rotation").exists() and not (folder / "rotation.json").exists()


KINDS = ("signer", "callout", "service", "operator", "callout-user", "warden")


def published(system: System) -> list[dict[str, Any]]:
    async def read() -> list[dict[str, Any]]:
        async with operator(system.nats_url, KeyFolder(system.plan.keys)) as asking:
            return list((await read_keys(asking.client))["keys"])

    return anyio.run(read)


def check(system: System, before: list[KeyPair], now: list[KeyPair]) -> None:
    """The old keys are refused, the new ones are taken, and written down as such."""
    wanted = {keys.public for keys in now}
    assert not {keys.public for keys in before} & wanted

    async def try_all() -> None:
        assert [await connects(system.nats_url, keys) for keys in before] == [False] * len(before)
        assert all([await connects(system.nats_url, keys) for keys in now])

    anyio.run(try_all)
    until(lambda: wanted <= {key["nkey"] for key in published(system) if "exp" not in key})


ROTATES = """
import os, signal, sys
from pathlib import Path
import anyio
from dominie_kit.keys.replacing import OPERATORS, Part
from dominie_kit.keys.rotation import rotate
from dominie_kit.house.state import StateFolder

last = sys.argv[2]

def tell(step):
    if step == last:
        os.kill(os.getpid(), signal.SIGKILL)

parts = (OPERATORS, Part("callout"), Part("callout-user"), Part("warden"), Part("service", "tool"))
anyio.run(lambda: rotate(StateFolder(Path(sys.argv[1])), parts, tell=tell))
"""


def clean() -> dict[str, str]:
    """This process's environment, with nothing of ours."""
    return {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}


PARTS = (OPERATORS, Part("callout"), Part("callout-user"), Part("warden"), Part("service", "tool"))
STEPS = (
    "the new keys are made",
    "the new keys are in their place",
    "the broker takes the new keys too",
    "identity has its new key",
    "the broker takes the new keys alone",
)


def killed_at(system: System, step: str, **environment: str) -> None:
    """A rotation that is killed when it has come so far."""
    arguments = [sys.executable, "-c", ROTATES, str(system.plan.folder), step]
    ended = subprocess.run(arguments, stderr=subprocess.PIPE, text=True, timeout=200, env=clean() | environment)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


def test_a_rotation_that_is_killed_is_finished_by_what_runs_by_the_next_one_or_by_the_next_start(
    system: System,
) -> None:
    folder, rotation = system.plan.keys, Rotation(system.keys)
    project = Project.find(system.plan.folder)

    with dominie.Client(credentials=project.developer_credentials()) as developer:
        register(project, developer)
    for number, step in enumerate(STEPS):
        before = static_keys(folder, ("tool",))
        killed_at(system, step)
        if number == 1:
            system.stop()
            assert rotation.find() is not None or before != static_keys(folder, ("tool",))
            system.start()
        if number == 2:
            with suppress(RotationBusy):  # what runs is at it already
                anyio.run(rotate, system.state, PARTS)
        until(lambda: rotation.find() is None)
        check(system, before, static_keys(folder, ("tool",)))
    load = Load(project)
    with load.under_way():
        until(lambda: load.done > 2)
    assert load.failed == []


def test_rotations_wait_for_nobody_who_has_the_lock_and_for_identity_when_it_is_away(system: System) -> None:
    before, rotation = KeyFolder(system.plan.keys).operator, Rotation(system.keys)
    with rotation.lock(), pytest.raises(RotationBusy):
        anyio.run(rotate, system.state, (OPERATORS,))
    with pytest.raises(StartFailed, match="nobody"):
        anyio.run(rotate, system.state, (OPERATORS, Part("service", "nobody")))
    assert rotation.find() is None and KeyFolder(system.plan.keys).operator.public == before.public
    stopped = system.kill("identity", signal.SIGSTOP)

    def go_on() -> None:
        try:
            until(lambda: (left := rotation.find()) is not None and left.phase == "unrecorded")
        finally:
            os.kill(stopped, signal.SIGCONT)

    waiting = threading.Thread(target=go_on)
    waiting.start()
    anyio.run(rotate, system.state, (OPERATORS,))
    waiting.join()
    assert rotation.find() is None
    assert not anyio.run(connects, system.nats_url, before)


@pytest.fixture
def secret(tmp_path: Path) -> dict[str, str]:
    (path := tmp_path / "passphrase").write_text("correct horse battery")
    path.chmod(0o600)
    return {"DOMINIE_PASSPHRASE_FILE": str(path), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


def typed(system: System, command: str, *arguments: str, **more: str) -> "subprocess.CompletedProcess[str]":
    """What a user who types that in the project's folder sees."""
    program = [command, *arguments]
    folder, environment = system.plan.folder, clean() | more
    return subprocess.run(
        program, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=100
    )


def held(system: System, command: str, **more: str) -> dict[tuple[str, str], dict[str, Any]]:
    found = typed(system, command, "keys", "list", "--json", **more)
    assert found.returncode == 0, found.stderr
    return {(key["use"], key["name"]): key for key in json.loads(found.stdout)["held"] if key["until_s"] is None}


def test_every_key_is_listed_and_a_persons_is_replaced_under_its_passphrase(
    system: System, dominie_command: str, secret: dict[str, str]
) -> None:
    before = held(system, dominie_command)
    static = {keys.public for keys in static_keys(system.plan.keys, system.plan.services)}
    assert static <= {key["nkey"] for key in before.values()}
    assert {use for use, _ in before} >= {*KINDS, "person"}
    assert {key["kept"] for key in before.values()} == {"plain"} and not any(key["exposed"] for key in before.values())
    protected = typed(system, dominie_command, "keys", "protect", "finance", **secret)
    assert protected.returncode == 0, protected.stderr
    refused = typed(system, dominie_command, "keys", "rotate", "person", "finance")
    assert refused.returncode == 1 and "needs a passphrase" in refused.stderr
    assert held(system, dominie_command)["person", "u-finance"]["nkey"] == before["person", "u-finance"]["nkey"]
    rotated = typed(system, dominie_command, "keys", "rotate", "person", "finance", "--json", **secret)
    assert rotated.returncode == 0, rotated.stderr
    now = held(system, dominie_command)["person", "u-finance"]
    assert now["kept"] == "passphrase"
    assert now["nkey"] == json.loads(rotated.stdout)["nkey"] != before["person", "u-finance"]["nkey"]
    asked = typed(system, dominie_command, "approvals", "list", "--as", "finance", "--json", **secret)
    assert asked.returncode == 0, asked.stderr
    shown = typed(system, dominie_command, "audit", "search", "--type", "principal", "--json")
    assert f"key {now['nkey'][:8]}" in shown.stdout


def test_what_runs_without_the_passphrase_goes_as_far_as_it_can_and_the_next_one_finishes(
    system: System, dominie_command: str, secret: dict[str, str]
) -> None:
    rotation, before = Rotation(system.keys), KeyFolder(system.plan.keys).operator
    assert typed(system, dominie_command, "keys", "protect", **secret).returncode == 0
    try:
        killed_at(system, STEPS[1], **secret)
        until(lambda: (left := rotation.find()) is not None and left.phase == "unrecorded")
        assert not anyio.run(connects, system.nats_url, before)
        away = typed(system, dominie_command, "keys", "rotate", "operator")
        assert away.returncode == 1 and rotation.find() is not None
        done = typed(system, dominie_command, "keys", "rotate", "operator", **secret)
        assert done.returncode == 0 and "interrupted is finished" in done.stderr, done.stderr
        assert rotation.find() is None
    finally:
        assert typed(system, dominie_command, "keys", "unprotect", **secret).returncode == 0
    check(system, [before], static_keys(system.plan.keys, ("tool",)))
