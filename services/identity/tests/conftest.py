"""Identity on a real broker, as the runner runs it."""

from collections.abc import AsyncIterator

import pytest

from dominie_identity import build
from dominie_identity.settings import Settings
from dominie_kit.testing import House, house, serving


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def acme(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """A house where identity is served."""
    async with house(tmp_path_factory.mktemp("house")) as empty:
        settings = Settings(
            nats_url=empty.url,
            keys=empty.keys.path,
            state=empty.keys.path / "state",
            identity_broker_log=empty.broker.log,
            identity_flood_messages_per_s=1000,
            identity_flood_bytes_per_s=10 * 2**20,
        )
        async with serving(build(settings)):
            yield empty
