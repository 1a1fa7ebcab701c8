"""A real broker for the tests that need one: its own port, its own folder, fsync after every message."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import pytest
from nats.aio.client import Client

from dominie_eventstore import provision, testing
from dominie_eventstore.testing import silent

pytest.register_assert_rewrite("dominie_eventstore.conformance")
ACCOUNTS = 100
"""No file has more tests than that."""


class Broker(testing.Broker):
    """A nats-server; each test has an account to itself."""

    account = 0


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
