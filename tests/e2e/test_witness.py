"""A log that is put back to an older state, its signed checkpoints with it, is found out by a witness elsewhere."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest

from dominie.cosignatures import check_quorum
from dominie.notes import Checkpoint, VerifierKey
from dominie_audit.adapters.witnesses.address import Address
from dominie_contracts import Draft, StreamName
from dominie_eventstore import JetStreamEventStore
from dominie_kit.bus import Inner
from dominie_kit.errors import StartFailed
from dominie_kit.house.system import System
from dominie_kit.settings import KitSettings

DOMINIE = str(Path(sys.executable).with_name("dominie"))
WAIT_S = 20.0
pytestmark = pytest.mark.timeout(120)


@contextmanager
def witness(state: Path, log: VerifierKey, port: int = 0) -> Iterator[Address]:
    """A witness in a process of its own, which is killed in the end."""
    command = [DOMINIE, "witness", "serve", "--state", str(state), "--log", str(log), "--json"]
    process = subprocess.Popen([*command, "--listen", f"127.0.0.1:{port}"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        told = json.loads(process.stdout.readline())
        yield Address.parse(f"{told['url']} {told['key']}")
    finally:
        process.kill()
        process.communicate(timeout=10)


class Desk:
    """A project whose log grows, and audit in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "project"
        self.keys = folder / "keys"
        self.folder.mkdir()
        with self.up():
            pass
        self.log = VerifierKey.parse((self.audit / "vkey").read_text())

    @property
    def audit(self) -> Path:
        return self.folder / ".dominie/audit"

    def up(self, address: Address | None = None) -> System:
        told = {"DOMINIE_AUDIT_WITNESSES": f"{address.url} {address.key}" if address else ""}
        return System(self.folder, services=("audit",), keys=self.keys, environment=told)

    def append(self, system: System, name: str) -> None:
        anyio.run(self._append, system.nats_url, name)

    async def _append(self, url: str, name: str) -> None:
        tool = Inner("tool", KitSettings(nats_url=url, keys=self.keys))
        await tool.open()
        draft = Draft(
            id=name, source="dominie/tool", type="tool.later.v1", time=datetime.now(UTC), actor="a-desk", data="{}"
        )
        try:
            stream = StreamName("acme", "tool", name)
            await JetStreamEventStore(tool.client).append(stream, [draft], expected_version=0)
        finally:
            await tool.close()

    def size(self, name: str = "witnessed") -> int:
        path = self.audit / "tlog" / name
        return Checkpoint.open(path.read_text(), self.log).size if path.exists() else -1

    def copy(self, to: Path) -> None:
        shutil.copytree(self.folder / ".dominie", to)

    def put_back(self, copy: Path) -> None:
        for part in ("audit", "nats"):
            shutil.rmtree(self.folder / ".dominie" / part)
            shutil.copytree(copy / part, self.folder / ".dominie" / part)


def until(done: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)  # a file that another process writes


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_older_state_is_refused_by_what_the_witness_knows(desk: Desk, tmp_path: Path) -> None:
    with witness(tmp_path / "witness", desk.log) as there:
        with desk.up(there) as system:
            desk.append(system, "one")
            until(lambda: desk.size() == 1, "the first event is witnessed")
        desk.copy(tmp_path / "copy")
        with desk.up(there) as system:
            desk.append(system, "two")
            until(lambda: desk.size() == 2, "the second event is witnessed")
            assert check_quorum((desk.audit / "tlog/checkpoint").read_text(), [there.key], 1)
        desk.put_back(tmp_path / "copy")
        with pytest.raises(StartFailed, match=r"WitnessDiffers: .* has signed 2 events, and .* is of 1 events"):
            desk.up(there).start()
    desk.up(there).start().stop()  # nobody is there to say so


def test_another_history_is_found_out_when_the_witness_comes_back(desk: Desk, tmp_path: Path) -> None:
    with witness(tmp_path / "witness", desk.log) as there:
        with desk.up(there) as system:
            desk.append(system, "one")
            until(lambda: desk.size() == 1, "the first event is witnessed")
        desk.copy(tmp_path / "copy")
        with desk.up(there) as system:
            desk.append(system, "two")
            until(lambda: desk.size() == 2, "the second event is witnessed")
    desk.put_back(tmp_path / "copy")
    with desk.up(there) as system:
        before = system.pid_of("audit")
        for name in ("other", "another"):
            desk.append(system, name)
        until(lambda: desk.size("checkpoint") == 3, "the log goes on without the witness")
        log = desk.folder / ".dominie/log/audit.log"
        with witness(tmp_path / "witness", desk.log, int(there.url.rpartition(":")[2])):
            until(lambda: "has signed 2 other events" in log.read_text(), "audit says so")
            until(lambda: system.pid_of("audit") != before, "audit ends")
    assert '"event": "witness.differs"' in log.read_text()
