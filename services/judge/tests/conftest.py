"""The judge's surroundings: a log in memory, and tool calls as the tool service would have recorded them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pydantic import JsonValue

from dominie_contracts import Payload
from dominie_contracts.action import Decided, Finished, Noted, Requested, noted_in
from dominie_contracts.tool import TOOL
from dominie_judge.projection import Deeds
from dominie_kit.handler_testing import Desk

Act = Callable[..., Awaitable[None]]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def desk() -> Desk:
    return Desk("judge")


@pytest.fixture
def deeds(desk: Desk) -> Deeds:
    deeds = Deeds(desk.store)
    desk.follow(deeds, noted_in(TOOL, "amounts"))
    return deeds


@pytest.fixture
def act(desk: Desk) -> Act:
    """Record a tool call of an amount in cents; without an outcome it is under way."""

    async def record(
        amount: int | None, *, outcome: Any = "ok", effect: str = "external", run: str = "r-1", tenant: str = "acme"
    ) -> None:
        asked: dict[str, JsonValue] = {"effect": effect, **({} if amount is None else {"amount": amount})}
        trail: list[Payload] = [
            Requested(command="tool.invoke", resource="refund", key="k", arguments={}, digest="d", deadline_ms=1),
            Decided(decision="allow", policies=("all",), request={"context": asked}),
        ]
        if outcome is not None:
            trail.append(Finished(outcome=outcome, duration_ms=1))
        id = f"call-{await desk.store.last_position()}"
        if amount is not None and effect != "read":
            await desk.append(noted_in(TOOL, "amounts"), id, Noted(what="amounts"), run=run, tenant=tenant)
        await desk.append(TOOL, id, *trail, run=run, tenant=tenant)

    return record
