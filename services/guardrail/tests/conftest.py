"""Guardrail on a log in memory, and actions parked as another service would have recorded them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dominie_contracts.action import Ask, Decided, Parked, Requested
from dominie_contracts.guardrail import APPROVAL, POLICY
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.tool import TOOL
from dominie_guardrail.handlers import Handlers
from dominie_guardrail.projection import Asked, AskedIn, InForce
from dominie_kit.handler_testing import Desk
from dominie_kit.standing import Standing

Park = Callable[..., Awaitable[Parked]]
APPROVAL_S = 60


class Clock:
    """Unix time in milliseconds, as told."""

    now_ms = 1_000

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def in_force() -> InForce:
    return InForce()


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def standing() -> Standing:
    return Standing()


@pytest.fixture
def desk(in_force: InForce, asked: Asked) -> Desk:
    desk = Desk("guardrail")
    desk.follow(in_force, POLICY)
    for category in (TOOL, MODEL, MEMORY, APPROVAL):
        desk.follow(AskedIn(asked, category), category)
    return desk


@pytest.fixture
def handlers(desk: Desk, standing: Standing, asked: Asked, clock: Clock) -> Handlers:
    return Handlers(desk.store, desk.actions(APPROVAL), standing, asked, now_ms=clock, approval_s=APPROVAL_S)


def waiting(cents: int = 9000, *, groups: tuple[str, ...] = ("finance",)) -> Parked:
    """What an action says when it waits; its digest stands for everything it means."""
    return Parked(
        asks=tuple(Ask(policy=f"ask-{group}", group=group, why="more than 50") for group in groups),
        digest=f"digest of {cents}",
        command="tool.invoke",
        resource="refund",
        arguments={"cents": cents},
        labels={"cents": "untrusted"},
        expires_ms=10_000,
    )


@pytest.fixture
def park(desk: Desk) -> Park:
    """Record an action that waits for a person."""

    async def record(id: str = "act-1", *, category: str = TOOL, tenant: str = "acme", **more: Any) -> Parked:
        parked = waiting(**more)
        await desk.append(
            category,
            id,
            Requested(command="tool.invoke", resource="refund", key="k", arguments={}, digest="d", deadline_ms=1),
            Decided(decision="ask", policies=("ask-finance",), asks=parked.asks, request={}),
            parked,
            tenant=tenant,
            run="r-1",
        )
        return parked

    return record
