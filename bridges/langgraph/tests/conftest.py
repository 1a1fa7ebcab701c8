"""A whole Dominie for the bridge: nine services, a scripted model, policies that ask, a tool worker."""

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import dominie
from dominie_langgraph import use_client

HERE = Path(__file__).parent
DOMINIE = HERE.parents[2] / ".venv" / "bin" / "dominie"
START_S = 90


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass(frozen=True)
class House:
    """A running Dominie, and what the worker did."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *command: str) -> dict[str, Any]:
        """Run a `dominie` command that prints JSON."""
        done = subprocess.run(
            [str(DOMINIE), *command, "--json"], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def approve(self, action: str) -> None:
        """Say yes, as finance."""
        self.ask("approvals", "approve", action, "--as", "finance")

    def events(self, run: str) -> list[str]:
        """The types of a run's events, in order."""
        return [entry["type"] for entry in self.ask("trace", run)["entries"]]

    def paid(self) -> list[str]:
        """The orders that the worker paid, in order."""
        return (self.folder / "paid.txt").read_text().split()


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    if not DOMINIE.exists():
        pytest.skip("the house itself is not installed: run `make setup`")
    folder = tmp_path_factory.mktemp("house")
    environment = {
        **os.environ,
        "DOMINIE_KEYS": str(folder / "keys"),
        "DOMINIE_MODEL_SCRIPT": str(HERE / "script.json"),
        "PAID": str(folder / "paid.txt"),
    }
    (folder / "paid.txt").touch()
    up = [str(DOMINIE), "up", "--detach", "--policies", str(HERE / "policies"), "--json"]
    subprocess.run(up, cwd=folder, env=environment, check=True, capture_output=True, timeout=START_S)
    worker = None
    try:
        subprocess.run(
            [str(DOMINIE), "tool", "add", str(HERE / "boxed.py")], cwd=folder, env=environment, check=True, timeout=30
        )
        worker = subprocess.Popen(
            [str(DOMINIE), "worker", str(HERE / "paying.py"), "--json"],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
        )
        assert worker.stdout is not None and worker.stdout.readline()
        yield House(folder, environment)
    finally:
        if worker is not None:
            worker.terminate()
            worker.communicate(timeout=20)
        subprocess.run([str(DOMINIE), "down"], cwd=folder, env=environment, check=True, capture_output=True, timeout=60)


@pytest.fixture(scope="session")
def client(house: House) -> Iterator[dominie.Client]:
    before, path = Path.cwd(), sys.argv[0]
    os.chdir(house.folder)
    try:
        with dominie.Client("desk") as client:
            use_client(client)
            yield client
    finally:
        os.chdir(before)
        sys.argv[0] = path


@pytest.fixture
def thread(client: dominie.Client) -> Callable[..., dict[str, Any]]:
    """A configuration with a thread of its own."""
    return lambda: {"configurable": {"thread_id": f"t-{uuid.uuid4().hex[:8]}", "user": "dana"}}
