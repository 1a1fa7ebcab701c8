"""A real broker, a tiny house behind it, and a callout that gives each principal the rights a test says."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dominie import Credentials
from dominie.keys import KeyPair
from dominie.testing import Broker, Callout, House, keeping_house


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def silent_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker that is not started yet, for those who configure it."""
    (tmp_path / "broker").mkdir()
    found = Broker(tmp_path / "broker")
    yield found
    found.kill()


@pytest.fixture
def broker(silent_broker: Broker) -> Broker:
    silent_broker.start()
    return silent_broker


@pytest.fixture
async def house(broker: Broker) -> AsyncIterator[House]:
    async with keeping_house(broker.url) as found:
        yield found


@pytest.fixture
def keys() -> KeyPair:
    return KeyPair.generate()


@pytest.fixture
def credentials(broker: Broker, keys: KeyPair) -> Credentials:
    return Credentials(url=broker.url, tenant="acme", principal="a-desk", keys=keys, user="u-dev")


@pytest.fixture
def callout(silent_broker: Broker, keys: KeyPair) -> Callout:
    """A broker that asks it; the house's connection is a service's."""
    found = Callout(silent_broker)
    found.known["a-desk"] = keys.public
    found.configure()
    silent_broker.start()
    return found


@pytest.fixture
async def answered(callout: Callout) -> AsyncIterator[House]:
    """The house behind a broker with a callout that answers."""
    async with callout.answering(), keeping_house(callout.broker.url, callout.service.seed) as found:
        yield found


@pytest.fixture
def guarded(callout: Callout, keys: KeyPair) -> Credentials:
    return Credentials(url=callout.broker.url, tenant="acme", principal="a-desk", keys=keys, rights_s=0.4, user="u-dev")
