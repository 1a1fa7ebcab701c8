"""Guardrail on a log in memory, and actions parked as another service would have recorded them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dominie_contracts.action import Ask, Decided, Noted, Parked, Requested, noted_in
from dominie_contracts.guardrail import APPROVAL, POLICY
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.tool import TOOL
from dominie_guardrail.handlers import Handlers
from dominie_guardrail.projection import Answers, Asked, InForce, Notes
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
def desk() -> Desk:
    return Desk("guardrail")


@pytest.fixture
def asked(desk: Desk, in_force: InForce) -> Asked:
    asked = Asked(desk.store)
    desk.follow(in_force, POLICY)
    desk.follow(Answers(asked), APPROVAL)
    for category in (TOOL, MODEL, MEMORY):
        desk.follow(Notes(asked, category), noted_in(category, "parked"))
    return asked


@pytest.fixture
def standing() -> Standing:
    return Standing()


@pytest.fixture
def handlers(desk: Desk, standing: Standing, asked: Asked, clock: Clock) -> Handlers:
    actions = desk.actions(APPROVAL)
    return Handlers(
        desk.store, actions, standing, asked, desk.keyring.of, now_ms=clock, approval_s=APPROVAL_S, local=False
    )


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

    async def record(
        id: str = "act-1", *, category: str = TOOL, tenant: str = "acme", user: str | None = None, **more: Any
    ) -> Parked:
        parked = waiting(**more)
        await desk.append(noted_in(category, "parked"), id, Noted(what="parked"), tenant=tenant)
        await desk.append(
            category,
            id,
            Requested(command="tool.invoke", resource="refund", key="k", arguments={}, digest="d", deadline_ms=1),
            Decided(decision="ask", policies=("ask-finance",), asks=parked.asks, request={}),
            parked,
            tenant=tenant,
            run="r-1",
            user=user,
        )
        return parked

    return record
