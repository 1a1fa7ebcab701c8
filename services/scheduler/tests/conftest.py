"""The scheduler on a log in memory."""

from collections.abc import Callable

import pytest

from dominie_contracts.model import OFFER
from dominie_contracts.scheduler import PERMIT
from dominie_kit.handler_testing import Desk
from dominie_scheduler.handlers import Handlers
from dominie_scheduler.projection import Offers, Slots


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def desk() -> Desk:
    return Desk("scheduler")


@pytest.fixture
def instance(desk: Desk) -> Callable[[], Handlers]:
    """The service, started again at each call: its queue is empty and its slots are those of the log."""

    def build() -> Handlers:
        slots, offers = Slots(), Offers()
        desk.follow(slots, PERMIT)
        desk.follow(offers, OFFER)
        return Handlers(desk.store, desk.actions(PERMIT), slots, offers, default_slots=1, reserve_usd=0.5)

    return build


@pytest.fixture
def handlers(instance: Callable[[], Handlers]) -> Handlers:
    return instance()
