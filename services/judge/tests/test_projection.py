"""What a run did, as the log tells it."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

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
    assert deeds.done("acme", "r-1") == (3000, 500)


async def test_runs_and_tenants_are_kept_apart(desk: Desk, deeds: Deeds, act: Any) -> None:
    await act(3000)
    await act(500, run="r-2")
    await act(700, tenant="other")
    await desk.caught_up()
    assert (deeds.done("acme", "r-1"), deeds.done("acme", "r-2"), deeds.done("other", "r-1")) == (
        (3000,),
        (500,),
        (700,),
    )


async def test_the_runs_that_were_active_last_are_known(desk: Desk, act: Any) -> None:
    deeds = Deeds(max_runs=2)
    desk.follow(deeds, TOOL)
    for run in ("r-1", "r-2", "r-1", "r-3"):
        await act(100, run=run)
    await desk.caught_up()
    assert [deeds.done("acme", run) for run in ("r-1", "r-2", "r-3")] == [(100, 100), (), (100,)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(st.lists(CALLS, max_size=8))
async def test_rebuilt_and_live_are_equal(desk: Desk, deeds: Deeds, act: Any, calls: list[dict[str, Any]]) -> None:
    for call in calls:
        await act(**call)
        await desk.caught_up()
    runs = [(tenant, run) for tenant in ("acme", "other") for run in ("r-1", "r-2")]
    live = [deeds.done(*run) for run in runs]
    deeds.reset()
    assert deeds.position == 0
    await desk.caught_up()
    assert [deeds.done(*run) for run in runs] == live
