"""Memory's handlers on a log in memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dominie_contracts.endorsing import ENDORSEMENT
from dominie_contracts.identity import RUN
from dominie_contracts.memory import MEMORY
from dominie_kit.governed.given import Provenance
from dominie_kit.handler_testing import Desk, term
from dominie_memory.handlers import Handlers
from dominie_memory.projection import Endorsements, Library


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library(tmp_path / "memory", term).open() as library:
        yield library


@pytest.fixture
async def desk(library: Library) -> Desk:
    desk = Desk("memory")
    desk.follow(library, MEMORY)
    await desk.publish()
    return desk


@pytest.fixture
def handlers(desk: Desk, library: Library) -> Handlers:
    provenance = Provenance()
    desk.follow(provenance.families, RUN)
    for category, each in provenance.given.items():
        desk.follow(each, category)
    endorsed = Endorsements()
    desk.follow(endorsed, ENDORSEMENT)
    return Handlers(desk.actions(MEMORY), library, desk.keyring, provenance, endorsed, desk.standing)
