"""A real broker, a tiny house behind it, and a callout that gives each principal the rights a test says."""

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from dominie import Credentials
from dominie.keys import KeyPair
from dominie.testing import Broker, Callout, House, keeping_house

ENVIRONMENT = (
    "URL",
    "TENANT",
    "PRINCIPAL",
    "SEED",
    "SEED_FILE",
    "RIGHTS_S",
    "USER",
    "APPROVER_SEED_FILE",
    "PASSPHRASE_FILE",
    "FORK",
)


@pytest.fixture(autouse=True)
def _no_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(f"DOMINIE_{name}", raising=False)


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
def open_house(broker: Broker) -> Iterator[House]:
    """A house on a loop of its own, for programs that have none."""
    with start_blocking_portal() as portal, portal.wrap_async_context_manager(keeping_house(broker.url)) as found:
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


@pytest.fixture
def project(tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "project" / ".dominie"
    (tmp_path / "keys" / "people").mkdir(parents=True)
    folder.mkdir(parents=True)
    for path in (folder / "dev.seed", tmp_path / "keys" / "people" / "u-finance.seed"):
        path.write_text(KeyPair.generate().seed)
    found = {"nats_url": broker.url, "tenant": "acme", "developer": "u-dev", "seed_file": "dev.seed"}
    more = {"gateway_url": "http://localhost:1", "rights_s": 60, "keys": str(tmp_path / "keys")}
    (folder / "client.json").write_text(json.dumps({**found, **more}))
    monkeypatch.chdir(folder.parent)
    return folder.parent
