"""A real broker, and a tiny house behind it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from dominie import Credentials
from dominie.keys import KeyPair
from dominie.testing import Broker, House, keeping_house


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
