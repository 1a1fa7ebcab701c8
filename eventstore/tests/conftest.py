"""A real broker for the tests that need one: its own port, its own folder, fsync after every message."""

import asyncio
import json
import select
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from nats.aio.client import Client

from dominie_eventstore import provision

pytest.register_assert_rewrite("dominie_eventstore.conformance")
START_S = 20.0
ACCOUNTS = 100
"""No file has more tests than that."""


class Broker:
    """A nats-server that can be killed and started again on the same port."""

    def __init__(self, folder: Path, extra: str = "") -> None:
        self.folder = folder
        self.url = ""
        self.account = 0
        self._config = folder / "server.conf"
        self._config.write_text(
            f'host: "127.0.0.1"\njetstream {{ store_dir: "{folder}/store", sync_interval: always }}\n{extra}\n'
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = self.url.rpartition(":")[2] or "-1"
        binary = shutil.which("nats-server", path=sysconfig.get_path("scripts")) or "nats-server"
        command = [binary, "-c", str(self._config), "-p", port, "--ports_file_dir", str(self.folder)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self.url = self._announced(self._process)

    def _announced(self, process: subprocess.Popen[bytes]) -> str:
        ports = self.folder / f"nats-server_{process.pid}.ports"
        end = time.monotonic() + START_S
        while time.monotonic() < end and process.poll() is None:
            if ports.exists() and (text := ports.read_text()):
                return str(json.loads(text)["nats"][0])
            select.select([], [], [], 0.01)
        self.stop()
        raise RuntimeError((self.folder / "log").read_text())

    def kill(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.wait()


async def silent(error: Exception) -> None:
    """Take the errors that nats-py reports beside."""


def accounts(count: int) -> str:
    """Configuration: as many accounts, each with its own JetStream; a test has one for itself."""
    each = (f"A{n} {{ jetstream: enabled, users: [{{ user: A{n}, password: A{n} }}] }}" for n in range(count))
    return f"accounts {{ {', '.join(each)} }}"


async def connect(broker: Broker, client: Client | None = None, **options: object) -> Client:
    """Connect to the account of the test that runs."""
    client = client or Client()
    name = f"A{broker.account}"
    settings: dict[str, object] = {"user": name, "password": name, "pending_size": 0, "reconnect_time_wait": 0.05}
    settings |= {"max_reconnect_attempts": -1, "error_cb": silent} | options
    await client.connect(broker.url, **settings)  # type: ignore[arg-type]  # options of many types
    return client


async def close(client: Client) -> None:
    """Close, and let the loop close the socket."""
    await client.close()
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def broker_with() -> type[Broker]:
    return Broker


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    running = Broker(tmp_path_factory.mktemp("broker"), accounts(ACCOUNTS))
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def clients(broker: Broker) -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Further connections: call it with a client, or with options."""
    opened: list[Client] = []

    async def open_one(client: Client | None = None, **options: object) -> Client:
        opened.append(await connect(broker, client, **options))
        return opened[-1]

    yield open_one
    for client in opened:
        await close(client)


@pytest.fixture
async def nc(broker: Broker) -> AsyncIterator[Client]:
    """A connection to an account of its own, with an empty stream of events."""
    broker.account += 1
    client = await connect(broker)
    try:
        await provision(client)
        yield client
    finally:
        await close(client)
