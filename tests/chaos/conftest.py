"""What the tests under accidents share: brokers and clusters of them, and writers who note what they were told."""

import asyncio
import json
import random
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from nats.aio.client import Client

from dominie_contracts.envelope import Draft
from dominie_eventstore import Appended, EventStore, JetStreamEventStore, StoreUnavailable, provision, verify_chain
from dominie_eventstore.conformance import draft, stream
from dominie_eventstore.testing import Broker, silent

NODES = 3
ROUNDS = 60
"""Kills in a run of all tests, by default; one in three is of a part of the whole house, the others of a broker."""
LAP = 40
"""Kills in one test, at most."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=ROUNDS, help=f"Kills by tests/chaos, in all ({ROUNDS}).")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Share the rounds out, in laps that end within a test's time."""
    rounds: int = metafunc.config.getoption("--rounds", ROUNDS)  # unknown where tests/chaos was not named
    shares = {"house_rounds": rounds // 3, "broker_rounds": rounds - rounds // 3}
    for name in shares.keys() & set(metafunc.fixturenames):
        laps, rest = divmod(shares[name], LAP)
        metafunc.parametrize(name, [LAP] * laps + [rest] * bool(rest))


@pytest.fixture
def chance() -> random.Random:
    """What decides who is killed when; a failed test shows its seed."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    return random.Random(seed)


@dataclass
class Told:
    """What writers were told of their appends, and how long they once had to wait."""

    appended: list[Appended] = field(default_factory=list)
    longest_s: float = 0.0
    checked: int = 0

    async def check_new(self, store: EventStore) -> None:
        """What was acknowledged since the last look is stored, where it was said to be."""
        new, self.checked = self.appended[self.checked :], len(self.appended)
        told = {event.position: event.raw for appended in new for event in appended.recorded}
        stored = {event.position: event.raw async for event in store.read_all(after=min(told, default=1) - 1)}
        assert told.items() <= stored.items(), lost(told, stored)

    async def check(self, store: EventStore) -> None:
        """All that was acknowledged is stored once, where it was said to be, and every chain holds."""
        self.checked = 0
        await self.check_new(store)
        ids = Counter([event.envelope.id async for event in store.read_all()])
        assert [id for id, count in ids.items() if count > 1] == []
        report = await verify_chain(store.read_all())
        assert report.ok, report


def lost(told: dict[int, bytes], stored: dict[int, bytes]) -> list[int]:
    """The positions whose events are not there, or are others."""
    return sorted(position for position, raw in told.items() if stored.get(position) != raw)


class Writers:
    """Each appends to a stream of its own, one event after the other, until told to stop.

    An append that could not be settled is repeated with the same event ids, as a service would.
    """

    def __init__(self, store: EventStore, told: Told, count: int, *, name: str = "w") -> None:
        self._store, self._told, self._count, self._name = store, told, count, name
        self._stop = False

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Write for as long as the context lasts; then finish what was begun."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                group.create_task(self._write(f"{self._name}{number}"))
            try:
                yield
            finally:
                self._stop = True

    async def more(self, count: int) -> None:
        """Wait until so many more were acknowledged."""
        wanted = len(self._told.appended) + count
        while len(self._told.appended) < wanted:  # noqa: ASYNC110 - several writers count together
            await asyncio.sleep(0.002)

    async def _write(self, id: str) -> None:
        loop, version = asyncio.get_running_loop(), 0
        while not self._stop:
            drafts, began = [draft(f"{id}.{version}.{n}") for n in range(1 + version % 3)], loop.time()
            appended = await self._insist(id, drafts, version)
            version = appended.version
            self._told.longest_s = max(self._told.longest_s, loop.time() - began)
            self._told.appended.append(appended)

    async def _insist(self, id: str, drafts: list[Draft], version: int) -> Appended:
        while True:
            try:
                return await self._store.append(stream(id), drafts, expected_version=version)
            except StoreUnavailable:
                continue


class Cluster:
    """Three nats-servers that know each other, on this machine."""

    def __init__(self, folder: Path, configured: Callable[[str, Path, str], str] | None = None) -> None:
        """Make them; `configured` says how, from a node's name, its store and its cluster block."""
        routes = [_free_port() for _ in range(NODES)]
        known = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.nodes: dict[str, Broker] = {}
        for number, port in enumerate(routes):
            name = f"n{number}"
            (folder / name).mkdir()
            block = f'cluster {{ name: C, listen: "127.0.0.1:{port}", routes: [{known}] }}'
            config = configured(name, folder / name / "store", block) if configured else ""
            self.nodes[name] = Broker(folder / name, f"server_name: {name}\n{block}", config=config)

    @property
    def urls(self) -> list[str]:
        """Where to connect."""
        return [node.url for node in self.nodes.values()]

    def start(self) -> None:
        """Start all of them: none is of use alone."""
        for node in self.nodes.values():
            node.launch()
        for node in self.nodes.values():
            node.wait()

    def stop(self) -> None:
        """Stop all of them."""
        for node in self.nodes.values():
            node.stop()


def _free_port() -> int:
    with closing(socket.socket()) as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture(scope="session")
def writers() -> type[Writers]:
    return Writers


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    running = Broker(tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    running = Cluster(tmp_path_factory.mktemp("cluster"))
    try:
        running.start()
        yield running
    finally:
        running.stop()


@pytest.fixture
async def connect() -> AsyncIterator[Callable[..., Awaitable[Client]]]:
    """Connect as services do: for ever, and nothing is sent late."""

    async def open_one(*urls: str) -> Client:
        client = Client()
        settings: dict[str, object] = {"pending_size": 0, "reconnect_time_wait": 0.05, "max_reconnect_attempts": -1}
        settings |= {"error_cb": silent, "connect_timeout": 2, "dont_randomize": True}
        await client.connect(list(urls), **settings)  # type: ignore[arg-type]  # options of many types
        opened.push_async_callback(client.close)
        return client

    async with AsyncExitStack() as opened:
        yield open_one


@pytest.fixture
async def replicated(cluster: Cluster, connect: Callable[..., Awaitable[Client]]) -> AsyncIterator[JetStreamEventStore]:
    """A store on an empty log of three replicas, its connection on any of them."""
    client = await connect(*cluster.urls)
    await provision(client, replicas=NODES, timeout_s=30)
    yield JetStreamEventStore(client, replicas=NODES)
    for name in json.loads((await client.request("$JS.API.STREAM.NAMES", b"", timeout=30)).data)["streams"]:
        await client.request(f"$JS.API.STREAM.DELETE.{name}", b"", timeout=30)


@pytest.fixture(scope="session")
def cluster_of() -> type[Cluster]:
    return Cluster
