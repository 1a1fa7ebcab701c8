"""The handlers of newservice on a log in memory."""

import pytest

from dominie_contracts.newservice import NEWSERVICE
from dominie_kit.handler_testing import Desk
from dominie_newservice.handlers import Handlers
from dominie_newservice.projection import Kept


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def desk() -> Desk:
    return Desk("newservice")


@pytest.fixture
def handlers(desk: Desk) -> Handlers:
    kept = Kept()
    desk.follow(kept, NEWSERVICE)
    return Handlers(desk.actions(NEWSERVICE), kept, list_max=2)
