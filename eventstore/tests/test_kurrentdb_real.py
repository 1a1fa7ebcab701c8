"""The event store on a real KurrentDB: at `$DOMINIE_KURRENTDB_URL`, else in a container, else not at all."""

import os
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from secrets import token_hex

import pytest

from dominie_eventstore import EventStore
from dominie_eventstore.conformance import EventStoreConformance
from dominie_eventstore.kurrentdb import KurrentDBEventStore

IMAGE = "kurrentplatform/kurrentdb:26.1.1"
PORT = 2113
START_S = 120
URL = os.environ.get("DOMINIE_KURRENTDB_URL")


def docker_answers() -> bool:
    docker = shutil.which("docker")
    return docker is not None and not subprocess.run([docker, "info"], capture_output=True, timeout=30).returncode


if URL is None and not docker_answers():
    reason = "NOT TESTED ON A REAL KURRENTDB: DOMINIE_KURRENTDB_URL is not set, and no Docker answers"
    pytest.skip(reason, allow_module_level=True)

pytestmark = pytest.mark.timeout(START_S + 60)


class TestKurrentDB(EventStoreConformance):
    """The database is not empty for every test, so each has a house of its own in it."""

    @pytest.fixture
    async def store(self, url: str) -> AsyncIterator[EventStore]:
        store = KurrentDBEventStore(url, house=f"test_{token_hex(8)}", timeout_s=20)
        yield store
        await store.aclose()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    if URL is not None:
        yield URL
        return
    from testcontainers.core.container import DockerContainer
    from testcontainers.core.wait_strategies import HttpWaitStrategy

    ready = HttpWaitStrategy(PORT, "/health/live").for_status_code_matching(lambda code: code < 300)
    container = DockerContainer(IMAGE).with_exposed_ports(PORT).waiting_for(ready.with_startup_timeout(START_S))
    for name in ("INSECURE", "MEM_DB"):
        container.with_env(f"KURRENTDB_{name}", "true")
    with container:
        yield f"kurrentdb://{container.get_container_host_ip()}:{container.get_exposed_port(PORT)}?tls=false"
