"""Calls of runs with a plan: inside of it they go on, outside they are denied, or as policy says."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import ApprovalRequired, Conflict, Forbidden, QuotaExceeded, Recorded, StreamName, ToolFailed
from dominie_contracts.action import Decided
from dominie_contracts.guardrail import Reservation
from dominie_contracts.identity import RUN
from dominie_contracts.plans import Plan, PlanStep
from dominie_contracts.runs import RunOpened
from dominie_contracts.token import Fork, Grants
from dominie_contracts.tool import PLAN, TOOL, BeginLocal, InvokeTool, PlanTaken
from dominie_eventstore import EventStore
from dominie_kit.context import Context
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.personal.keyring import Keyring
from dominie_kit.personal.opened import OpenedStore
from dominie_tool.handlers import Handlers
from dominie_tool.plans.aggregate import Call, Taken, evolve, place
from dominie_tool.plans.following import Plans

pytestmark = pytest.mark.anyio
TWICE = Plan(steps=(PlanStep(tool="refund", most=2, fixed={"/order": "A1"}), PlanStep(tool="mail")))
ORDERED = TWICE.model_copy(update={"ordered": True})


def opened(plan: Plan | None, run: str = "r-1", **more: object) -> RunOpened:
    known = {"run": run, "agent": "a-desk", "user": "u-dana", "session": None, "grants": Grants(), "expires_s": 1}
    told = {"request_digest": None, "plan": plan and plan.model_dump(mode="json"), **more}
    return RunOpened.model_validate({**known, **told})


def bound(context: Context, plan: Plan, **more: object) -> Context:
    """The same command, with a run token that names a plan."""
    assert context.claims is not None
    return replace(context, claims=context.claims.model_copy(update={"plan_digest": plan.digest, **more}))


class Counting(OpenedStore):
    """One that counts how often a stream is read."""

    def __init__(self, log: EventStore, keyring: Keyring) -> None:
        super().__init__(log, keyring)
        self.reads = Counter[StreamName]()

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        self.reads[stream] += 1
        return await super().read(stream, after_version=after_version, near=near)


@pytest.fixture
async def refunds(desk: Desk, have: Any) -> None:
    for name in ("refund", "mail", "other"):
        await have(name)
    await desk.append(RUN, "r-1", opened(TWICE))


async def ask(handlers: Handlers, context: Context, tool: str = "refund", **arguments: JsonValue) -> str:
    """A call's outcome; `denied: …` where policy denies it."""
    try:
        given_: dict[str, JsonValue] = {"order": "A1", **arguments} if tool == "refund" else arguments
        return str((await handlers.invoke(InvokeTool(tool=tool, arguments=given_), context)).result)
    except Forbidden as problem:
        return problem.detail


async def told_policies(desk: Desk) -> dict[str, Any]:
    """The context of the only decision."""
    (decided,) = [event async for event in desk.store.read_all(category=TOOL) if event.type == "tool.decided.v1"]
    context: dict[str, Any] = Decided.model_validate(decided.envelope.data).request["context"]  # type: ignore[assignment]
    return context


async def test_a_call_of_a_step_goes_on_as_often_as_it_may(desk: Desk, handlers: Handlers, refunds: None) -> None:
    told = [await ask(handlers, bound(desk.context(f"k{n}"), TWICE), cents=n) for n in range(3)]
    assert told == ["done", "done", "outside of the run's plan: its steps have been taken as often as they may"]
    assert await ask(handlers, bound(desk.context("m"), TWICE), "mail") == "done"
    assert await desk.types(PLAN) == ["taken.v1"] * 3


@pytest.mark.parametrize(
    ("tool", "arguments", "why"),
    [("other", {}, "it has no step of this tool"), ("refund", {"order": "A2"}, "it fixes another argument")],
)
async def test_what_no_step_holds_is_denied_and_takes_nothing(
    desk: Desk, handlers: Handlers, refunds: None, worker: Any, tool: str, arguments: dict[str, JsonValue], why: str
) -> None:
    assert await ask(handlers, bound(desk.context(), TWICE), tool, **arguments) == f"outside of the run's plan: {why}"
    assert (worker.calls, await desk.types(PLAN)) == ([], [])
    assert (await told_policies(desk))["plan"] == "outside"


async def test_a_local_function_is_held_to_the_plan_too(desk: Desk, handlers: Handlers) -> None:
    await desk.append(RUN, "r-1", opened(TWICE))
    local = {"spec": {"name": "wipe", "kind": "local", "input_schema": {"type": "object"}}, "arguments": {}}
    with pytest.raises(Forbidden, match="no step of this tool"):
        await handlers.begin(BeginLocal.model_validate(local), bound(desk.context(), TWICE))


async def test_the_same_action_counts_once(
    desk: Desk, instance: Callable[[], Handlers], refunds: None, worker: Any
) -> None:
    for _ in range(4):
        assert await ask(instance(), bound(desk.context("same"), TWICE)) == "done"
    assert (len(worker.calls), await desk.types(PLAN)) == (1, ["taken.v1"])
    with pytest.raises(Conflict):
        await ask(instance(), bound(desk.context("same"), TWICE), cents=1)


async def test_of_many_at_once_no_more_than_may_take_the_step(
    desk: Desk, instance: Callable[[], Handlers], refunds: None, worker: Any
) -> None:
    calls = [ask(instance(), bound(desk.context(f"k{n}"), TWICE, plan_run=None), cents=n) for n in range(10)]
    assert sorted(await asyncio.gather(*calls)).count("done") == 2
    assert len(worker.calls) == 2


async def test_parts_of_a_run_follow_its_plan_together(desk: Desk, handlers: Handlers, refunds: None) -> None:
    told = [
        await ask(handlers, bound(desk.context(run=f"part-{n}"), TWICE, plan_run="r-1", parents=("r-1",)))
        for n in range(3)
    ]
    assert told[:2] == ["done"] * 2
    assert told[2].endswith("as often as they may")


async def test_what_was_refused_before_has_no_step(desk: Desk, handlers: Handlers, refunds: None) -> None:
    no_cents = '@id("no") @why("no") forbid (principal, action == Action::"tool.invoke", resource == Tool::"refund");'
    await desk.publish(PERMIT_ALL + no_cents)
    for n in range(2):
        assert await ask(handlers, bound(desk.context(f"no{n}"), TWICE)) == "no"
    await desk.publish()
    told = [await ask(handlers, bound(desk.context(f"k{n}"), TWICE), cents=n) for n in range(3)]
    assert told[:2] == ["done", "done"]
    assert told[2].endswith("as often as they may")


@pytest.mark.parametrize("effect", ["read", "external"])
async def test_what_failed_has_taken_its_step_whatever_its_effect(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, effect: str
) -> None:
    await have("mail", effect=effect)
    await desk.append(RUN, "r-1", opened(TWICE))
    worker.results["mail"] = ToolFailed("mail: it broke")
    for n in range(4):
        with pytest.raises((ToolFailed, Forbidden)):
            await handlers.invoke(InvokeTool(tool="mail", arguments={}), bound(desk.context(f"k{n}"), TWICE))
    assert len(worker.calls) == 1


async def test_a_read_that_found_its_limit_used_up_gives_its_step_back(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    await have("mail")
    await desk.append(RUN, "r-1", opened(TWICE))
    await desk.publish(
        PERMIT_ALL + '@id("l") @calls("1") @per("agent") @within("day") forbid (principal, action, resource);'
    )
    desk.others.record = Reservation(granted=False, policy="l")
    with pytest.raises(QuotaExceeded):
        await handlers.invoke(InvokeTool(tool="mail", arguments={}), bound(desk.context("k0"), TWICE))
    desk.others.record = Reservation(granted=True)
    assert await ask(handlers, bound(desk.context("k1"), TWICE), "mail") == "done"


async def test_a_key_that_comes_with_another_request_frees_no_step(
    desk: Desk, handlers: Handlers, have: Any, worker: Any
) -> None:
    plan = Plan(steps=(PlanStep(tool="find", most=5), PlanStep(tool="refund", fixed={"/order": "A1"})))
    for name in ("find", "refund"):
        await have(name, effect="external")
    await desk.append(RUN, "r-1", opened(plan))
    for n in range(3):
        await ask(handlers, bound(desk.context(f"k{n}"), plan))
        with pytest.raises((Conflict, Forbidden)):
            await handlers.invoke(InvokeTool(tool="find", arguments={}), bound(desk.context(f"k{n}"), plan))
    assert [name for name, _ in worker.calls] == ["refund"]


async def test_an_ordered_step_is_not_taken_after_a_later_one(desk: Desk, handlers: Handlers, have: Any) -> None:
    for name in ("refund", "mail"):
        await have(name)
    await desk.append(RUN, "r-1", opened(ORDERED))
    told = [await ask(handlers, bound(desk.context(), ORDERED), name) for name in ("refund", "mail", "refund")]
    assert told == ["done", "done", "outside of the run's plan: a later step was taken already"]


async def test_what_happens_outside_is_what_policy_says(desk: Desk, handlers: Handlers, refunds: None) -> None:
    asks = """@id("plan") @ask("finance") @why("not planned")
    forbid (principal, action in Action::"tool.invoke", resource)
    when { context has plan && context.plan == "outside" && context has plan_lacks && context.plan_lacks == "tool" };"""
    await desk.publish(PERMIT_ALL + asks)
    with pytest.raises(ApprovalRequired, match="not planned"):
        await ask(handlers, bound(desk.context(), TWICE), "other")
    assert await ask(handlers, bound(desk.context(), TWICE)) == "done"
    assert await ask(handlers, desk.context(), "other") == "done"  # a run without a plan


@pytest.mark.parametrize("on_record", ["none", "another", "erased"])
async def test_a_plan_that_is_not_there_denies_whatever_policy_says(
    desk: Desk, handlers: Handlers, have: Any, worker: Any, on_record: str
) -> None:
    await have()
    found = {"none": opened(None), "another": opened(ORDERED), "erased": opened(None)}
    found["erased"] = found["erased"].model_copy(update={"plan": {"$erased": True}})
    await desk.append(RUN, "r-1", found[on_record])
    asks = '@id("p") @ask("finance") forbid (principal, action, resource) when { context has plan };'
    await desk.publish(PERMIT_ALL + asks)
    assert "plan of run 'r-1' is not" in await ask(handlers, bound(desk.context(), TWICE))
    assert (worker.calls, await desk.types(TOOL)) == ([], ["requested.v1", "finished.v1"])


async def test_a_fork_goes_on_from_what_was_taken_until_then(desk: Desk, handlers: Handlers, refunds: None) -> None:
    await ask(handlers, bound(desk.context("k0"), TWICE))
    at = [event async for event in desk.store.read_all()][-1].position
    await ask(handlers, bound(desk.context("k1"), TWICE), cents=1)
    desk.others.record = await desk.last(TOOL)
    fork = Fork(run="r-1", root="r-1", at=at)
    stream = await desk.append(RUN, "fork", opened(TWICE, "fork"))
    assert stream
    plans = handlers._plans
    lacks = []
    for n in range(2):
        context = bound(desk.context(f"f{n}", run="fork", fork=fork), TWICE, plan_run="r-1")
        action = handlers._actions.open(context)
        lacks.append(await plans.lacks(action, Call(action.id, "refund", {"order": "A1"})))
    assert lacks == [None, "times"]


async def test_a_run_without_a_plan_reads_and_writes_nothing_of_plans(
    desk: Desk, handlers: Handlers, refunds: None
) -> None:
    assert await ask(handlers, desk.context(), order="A2") == "done"
    assert await desk.types(PLAN) == []
    assert "plan" not in await told_policies(desk)


async def test_what_a_fork_has_of_its_parent_is_read_once(desk: Desk, handlers: Handlers, refunds: None) -> None:
    await ask(handlers, bound(desk.context("k0"), TWICE))
    fork = Fork(run="r-1", root="r-1", at=[event async for event in desk.store.read_all()][-1].position)
    store, lacks = Counting(desk.log, desk.keyring), list[str | None]()
    actions = desk.actions(TOOL)
    plans = Plans(store, actions)
    for n in range(3):
        action = actions.open(bound(desk.context(f"f{n}", run="fork", fork=fork), TWICE, plan_run="r-1"))
        lacks.append(await plans.lacks(action, Call(action.id, "refund", {"order": "A1"})))
    assert lacks == [None, "times", "times"]
    assert store.reads[StreamName("acme", PLAN, "r-1")] == 1


TAKEN = st.builds(
    PlanTaken,
    action=st.sampled_from("0123456"),
    step=st.integers(0, 3),
    instead_of=st.lists(st.sampled_from("0123456"), max_size=2).map(tuple),
)


@given(st.lists(TAKEN, max_size=20), st.integers(0, 20))
def test_events_come_to_the_same_one_by_one_and_all_at_once(events: list[PlanTaken], cut: int) -> None:
    one_by_one = Taken()
    for event in events:
        one_by_one = evolve(one_by_one, [event])
    first = evolve(Taken(), events[:cut])
    before = dict(first.steps)
    assert evolve(first, events[cut:]) == one_by_one and first.steps == before
    assert list(evolve(first, events[cut:]).steps) == list(one_by_one.steps)


STEPS = st.lists(
    st.builds(
        PlanStep,
        tool=st.sampled_from(["a", "b"]),
        most=st.integers(1, 3),
        fixed=st.sampled_from([{}, {"/x": 1}, {"/x": 2}]),
    ),
    min_size=1,
    max_size=4,
)
CALLS = st.lists(st.builds(Call, st.sampled_from("0123456789"), st.sampled_from("ab"), st.just({"x": 1})), max_size=20)


@given(st.builds(Plan, steps=STEPS.map(tuple), ordered=st.booleans()), CALLS)
def test_no_step_is_taken_more_often_than_it_may_nor_by_what_it_does_not_hold(plan: Plan, calls: list[Call]) -> None:
    taken, ever = Taken(), dict[tuple[str, int], None]()
    for call in calls:
        found = place(plan, taken, call)
        if isinstance(found, int):
            assert plan.steps[found].holds(call.tool, call.arguments)
            ever[call.action, found] = None
            taken = evolve(taken, [PlanTaken(action=call.action, step=found)])
            assert place(plan, taken, call) == found
    used = [step for _, step in ever]
    assert all(used.count(at) <= step.most for at, step in enumerate(plan.steps))
    assert not plan.ordered or used == sorted(used)
