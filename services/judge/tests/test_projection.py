"""What a run did, as the log tells it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dominie_contracts.action import Decided, Finished, Noted, noted_in
from dominie_contracts.tool import TOOL
from dominie_judge.projection import Deeds
from dominie_kit.handler_testing import Desk

pytestmark = pytest.mark.anyio

CALLS = st.fixed_dictionaries(
    {
        "amount": st.none() | st.integers(0, 10_000),
        "outcome": st.sampled_from(["ok", "error", None]),
        "effect": st.sampled_from(["read", "write", "external"]),
        "run": st.sampled_from(["r-1", "r-2"]),
        "tenant": st.sampled_from(["acme", "other"]),
    }
)


async def test_only_what_came_true_counts(desk: Desk, deeds: Deeds, act: Any) -> None:
    await act(3000)
    await act(500, effect="write")
    await act(9000, outcome="error")
    await act(9000, outcome=None)
    await act(9000, effect="read")
    await act(None)
    await act(0)
    await desk.caught_up()
    assert await deeds.done("acme", "r-1") == (3000, 500)


async def test_runs_and_tenants_are_kept_apart(desk: Desk, deeds: Deeds, act: Any) -> None:
    await act(3000)
    await act(500, run="r-2")
    await act(700, tenant="other")
    await desk.caught_up()
    found = [await deeds.done(*run) for run in (("acme", "r-1"), ("acme", "r-2"), ("other", "r-1"))]
    assert found == [(3000,), (500,), (700,)]


async def test_the_runs_that_were_active_last_are_known(desk: Desk, act: Any) -> None:
    deeds = Deeds(desk.store, max_runs=2)
    desk.follow(deeds, noted_in(TOOL, "amounts"))
    for run in ("r-1", "r-2", "r-1", "r-3"):
        await act(100, run=run)
    await desk.caught_up()
    assert [await deeds.done("acme", run) for run in ("r-1", "r-2", "r-3")] == [(100, 100), (), (100,)]


async def test_a_call_counts_once_it_has_come_true(desk: Desk, deeds: Deeds) -> None:
    await desk.append(noted_in(TOOL, "amounts"), "call-1", Noted(what="amounts"), run="r-1")
    await desk.caught_up()
    assert await deeds.done("acme", "r-1") == ()
    decided = Decided(decision="allow", policies=("all",), request={"context": {"effect": "external", "amount": 3000}})
    await desk.append(TOOL, "call-1", decided, Finished(outcome="ok", duration_ms=1), run="r-1")
    assert await deeds.done("acme", "r-1") == (3000,)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(CALLS, max_size=8))
async def test_rebuilt_and_live_are_equal(desk: Desk, deeds: Deeds, act: Any, calls: list[dict[str, Any]]) -> None:
    for call in calls:
        await act(**call)
        await desk.caught_up()
    runs = [(tenant, run) for tenant in ("acme", "other") for run in ("r-1", "r-2")]
    live = [await deeds.done(*run) for run in runs]
    deeds.reset()
    assert deeds.position == 0
    await desk.caught_up()
    assert [await deeds.done(*run) for run in runs] == live
