"""Guardrail on a log in memory, and actions parked as another service would have recorded them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from dominie_contracts.action import Ask, Decided, Noted, Parked, Requested, noted_in
from dominie_contracts.guardrail import APPROVAL, POLICY
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.tool import CATALOG, TOOL
from dominie_guardrail.adapters.refusals import Refusals, writer
from dominie_guardrail.handlers import Handlers
from dominie_guardrail.projection import Answers, Asked, InForce, Notes, Shapes
from dominie_kit.bus import now_ms
from dominie_kit.handler_testing import Desk

Park = Callable[..., Awaitable[Parked]]
APPROVAL_S = 60
LIFE_MS = 300_000
REQUESTED = Requested(command="tool.invoke", resource="refund", key="k", arguments={}, digest="d", deadline_ms=1)


class Clock:
    """Unix time in milliseconds, as told; it begins now."""

    def __init__(self) -> None:
        self.now_ms = now_ms()

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
async def desk() -> Desk:
    desk = Desk("guardrail")
    for tenant in ("acme", "other"):
        await desk.join("a-desk", tenant=tenant, sponsor="u-sam")
    return desk


@pytest.fixture
def shapes() -> Shapes:
    return Shapes()


@pytest.fixture
def asked(desk: Desk, in_force: InForce, shapes: Shapes) -> Asked:
    asked = Asked(desk.store)
    desk.follow(in_force, POLICY)
    desk.follow(shapes, CATALOG)
    desk.follow(Answers(asked), APPROVAL)
    for category in (TOOL, MODEL, MEMORY):
        desk.follow(Notes(asked, category), noted_in(category, "parked"))
    return asked


@pytest.fixture
def refusals(desk: Desk) -> Refusals:
    return Refusals(writer(desk.store, desk.actions(APPROVAL)), every_s=0.0)


@pytest.fixture
def handlers(desk: Desk, asked: Asked, refusals: Refusals, shapes: Shapes, clock: Clock) -> Handlers:
    return Handlers(
        desk.store,
        desk.actions(APPROVAL),
        desk.standing,
        asked,
        refusals,
        desk.keyring.of,
        shapes,
        now_ms=clock,
        approval_s=APPROVAL_S,
        local=False,
    )


def waiting(cents: int = 9000, *, groups: tuple[str, ...] = ("finance",), note: str = "") -> Parked:
    """What an action says when it waits; its digest stands for everything it means."""
    return Parked(
        asks=tuple(Ask(policy=f"ask-{group}", group=group, why="more than 50") for group in groups),
        digest=f"digest of {cents}",
        command="tool.invoke",
        resource="refund",
        arguments={"cents": cents, **({"note": note} if note else {})},
        labels={"cents": "untrusted"},
        expires_ms=now_ms() + LIFE_MS,
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
            REQUESTED.model_copy(update={"arguments": parked.arguments}),
            Decided(decision="ask", policies=("ask-finance",), asks=parked.asks, request={}),
            parked.model_copy(update={"arguments": {}}),
            tenant=tenant,
            run="r-1",
            user=user,
            actor="a-desk",
        )
        return parked

    return record
