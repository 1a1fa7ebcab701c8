"""An action's trail, with two instances of one service on one log: it is done once, whatever is repeated or dies."""

import contextlib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import given, settings
from hypothesis import strategies as st

from dominie_contracts import (
    ApprovalRequired,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    Payload,
    Problem,
    StreamName,
    ToolFailed,
    Unavailable,
)
from dominie_contracts.action import Finished, Started
from dominie_contracts.tool import TOOL
from dominie_kit import Action, Actions, Lost, NotDone, Outcome, Request, Work
from dominie_kit.bus import now_ms
from dominie_kit.context import Context
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.policy.question import Question

pytestmark = pytest.mark.anyio

POLICIES = (
    PERMIT_ALL
    + """
@id("big") @ask("finance") @why("finance looks at this") forbid (principal, action, resource == Tool::"asked");
@id("never") @why("nobody may") forbid (principal, action, resource == Tool::"denied");
"""
)
HARDER = POLICIES + '@id("freeze") @why("frozen") forbid (principal, action, resource);'
SHORT_S = 0.01
OPENED = ["requested.v1", "decided.v1"]
STARTED = [*OPENED, "started.v1"]
DONE = [*STARTED, "finished.v1"]


class Ledger:
    """The world outside: it counts what was done to it, and says first what the log held then."""

    def __init__(self, desk: Desk) -> None:
        self.done: list[str] = []
        self.seen: list[list[str]] = []
        self._desk = desk

    async def run(self, action: Action) -> Outcome:
        self.seen.append(await self._desk.types(TOOL))
        self.done.append(action.id)
        return Outcome(Finished(outcome="ok", result=len(self.done), duration_ms=1))


class Gated(Ledger):
    """Its work goes on when the gate opens."""

    def __init__(self, desk: Desk) -> None:
        super().__init__(desk)
        self.begun, self.gate = anyio.Event(), anyio.Event()

    async def run(self, action: Action) -> Outcome:
        self.begun.set()
        await self.gate.wait()
        return await super().run(action)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def desk() -> Desk:
    desk = Desk("tool")
    await desk.publish(POLICIES)
    return desk


@pytest.fixture
def here(desk: Desk) -> Actions:
    return desk.actions(TOOL)


@pytest.fixture
def there(desk: Desk) -> Actions:
    """Another instance of the same service."""
    return desk.actions(TOOL)


@pytest.fixture
def ledger(desk: Desk) -> Ledger:
    return Ledger(desk)


async def act(
    actions: Actions, context: Context, work: Work, *, tool: str = "refund", cents: int = 3000, ask: bool = True
) -> Action:
    request = Request("tool.invoke", {"cents": cents}, tool)
    call = {"tenant": "acme", "user": "u-dana", "effect": "write", "kind": "worker", "version": "1", "untrusted": []}
    question = Question(context.principal, "tool.invoke", "Tool", tool, call)  # type: ignore[arg-type]  # it is JSON
    return await actions.perform(actions.open(context), request, question if ask else None, work)


def result(action: Action) -> object:
    assert action.state.finished is not None
    return action.state.finished.result


def raising(error: Exception) -> Callable[[Action], Awaitable[Outcome]]:
    async def run(action: Action) -> Outcome:
        raise error

    return run


def crash(**work: Any) -> Work:
    """Work whose service dies in it, as far as anybody can see."""
    return Work(raising(RuntimeError("died")), effect=True, lease_s=SHORT_S, **work)


async def parked(actions: Actions, context: Context, work: Work, **more: Any) -> ApprovalRequired:
    with pytest.raises(ApprovalRequired) as raised:
        await act(actions, context, work, tool="asked", **more)
    return raised.value


async def write(desk: Desk, action: Action, *payloads: Payload) -> None:
    """Go on with an action in another instance's name."""
    await desk.append(TOOL, action.id, *payloads)


async def test_a_read_is_one_append_at_version_0(desk: Desk, here: Actions, ledger: Ledger) -> None:
    context = desk.context()
    done = await act(here, context, Work(ledger.run))
    (event, *rest) = await desk.store.read(done.stream)
    assert [each.envelope.type for each in (event, *rest)] == [
        f"tool.{kind}.v1" for kind in ("requested", "decided", "finished")
    ]
    assert {each.position >> 8 for each in rest} == {event.position >> 8}
    assert (event.envelope.version, context.position) == (1, rest[-1].position)
    assert ledger.seen == [[]]


async def test_an_effect_is_written_down_before_it_happens(desk: Desk, here: Actions, ledger: Ledger) -> None:
    await act(here, desk.context(), Work(ledger.run, effect=True))
    assert ledger.seen == [STARTED]
    assert await desk.types(TOOL) == DONE


@pytest.mark.parametrize("how", ["it goes well", "it fails"])
async def test_a_read_names_what_isolated_it_in_its_outcome(
    desk: Desk, here: Actions, ledger: Ledger, how: str
) -> None:
    run = ledger.run if how == "it goes well" else raising(ToolFailed("no"))
    with contextlib.suppress(ToolFailed):
        await act(here, desk.context("k"), Work(run, layers=("uid", "namespaces")))
    done = await here.load(desk.context("k"), here.open(desk.context("k")).id)
    assert done.state.finished is not None and done.state.finished.layers == ("uid", "namespaces")


async def test_without_a_question_nothing_is_decided(desk: Desk, here: Actions, ledger: Ledger) -> None:
    await act(here, desk.context(), Work(ledger.run), ask=False)
    assert await desk.types(TOOL) == ["requested.v1", "finished.v1"]


async def test_every_event_says_who_for_whom_in_which_run(desk: Desk, here: Actions, ledger: Ledger) -> None:
    done = await act(here, desk.context("k1"), Work(ledger.run))
    for event in await desk.store.read(done.stream):
        found = event.envelope
        assert (found.actor, found.on_behalf_of, found.correlation_id) == ("a-desk", "u-dana", "r-1")
        assert (found.causation_id, found.policy_version) == (desk.context("k1").cause, desk.decisions.digest)
        assert b'"k1"' not in event.raw


@pytest.mark.parametrize("effect", [True, False])
async def test_a_repeated_command_has_the_firsts_outcome_wherever_it_arrives(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger, effect: bool
) -> None:
    work = Work(ledger.run, effect=effect)
    first = await act(here, desk.context("k"), work)
    for actions in (here, there):
        assert result(await act(actions, desk.context("k"), work)) == result(first)
    assert len(await desk.types(TOOL)) == first.state.version


async def test_other_arguments_under_the_same_key_are_a_conflict(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger
) -> None:
    await act(here, desk.context("k"), Work(ledger.run, effect=True))
    for changed in ({"cents": 9000}, {"tool": "other"}):
        with pytest.raises(Conflict, match="another request"):
            await act(there, desk.context("k"), Work(ledger.run, effect=True), **changed)
    assert len(ledger.done) == 1


async def test_a_key_is_its_principals_its_users_and_its_tenants_own(desk: Desk, here: Actions, ledger: Ledger) -> None:
    others: tuple[dict[str, str], ...] = ({}, {"agent": "a-other"}, {"user": "u-eli"}, {"tenant": "other"})
    for other in others:
        await act(here, desk.context("k", **other), Work(ledger.run, effect=True))  # type: ignore[arg-type]  # by name
    assert len(set(ledger.done)) == len(others)


async def test_a_denial_is_recorded_and_nothing_is_done(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger
) -> None:
    for actions in (here, there):
        with pytest.raises(Forbidden, match="nobody may") as raised:
            await act(actions, desk.context("k"), Work(ledger.run, effect=True), tool="denied")
        assert raised.value.extra["policies"] == ["never"]
    assert await desk.types(TOOL) == [*OPENED, "finished.v1"]
    assert not ledger.done


async def test_a_refusal_of_the_service_is_on_the_record(desk: Desk, here: Actions) -> None:
    action = here.open(desk.context())
    problem = await here.refuse(action, Request("tool.invoke", {}, "refund"), Forbidden("not granted"))
    assert problem.detail == "not granted"
    assert await desk.types(TOOL) == ["requested.v1", "finished.v1"]


async def test_what_others_look_for_is_noted_before_it_is_written(desk: Desk, here: Actions, ledger: Ledger) -> None:
    await act(here, desk.context("plain"), Work(ledger.run))
    await act(here, desk.context("k"), Work(ledger.run, notes=("amounts",)))
    await parked(here, desk.context("asked"), Work(ledger.run))
    log = [event async for event in desk.store.read_all()]
    notes = [event for event in log if ".noted." in event.type]
    noted = {(event.type, StreamName.parse(event.stream).id): event.position for event in notes}
    last = {StreamName.parse(event.stream).id: event.position for event in log}
    ids = {key: here.open(desk.context(key)).id for key in ("k", "asked")}
    assert set(noted) == {
        ("tool_amounts.noted.v1", ids["k"]),
        ("tool_parked.noted.v1", ids["asked"]),
    }
    assert all(position < last[id] for (_, id), position in noted.items())


async def test_while_the_lease_lives_another_waits_for_the_outcome(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger
) -> None:
    first, found = Gated(desk), list[object]()

    async def again() -> None:
        found.append(result(await act(there, desk.context("k"), Work(ledger.run, effect=True))))

    async with anyio.create_task_group() as group:
        group.start_soon(act, here, desk.context("k"), Work(first.run, effect=True))
        await first.begun.wait()
        group.start_soon(again)
        await anyio.wait_all_tasks_blocked()
        first.gate.set()
    assert (found, len(first.done), ledger.done) == ([1], 1, [])


async def test_it_waits_no_longer_than_its_deadline(desk: Desk, here: Actions, there: Actions, ledger: Ledger) -> None:
    first = Gated(desk)
    async with anyio.create_task_group() as group:
        group.start_soon(act, here, desk.context("k"), Work(first.run, effect=True))
        await first.begun.wait()
        with pytest.raises(DeadlineExceeded):
            await act(there, desk.context("k", deadline_s=0.1), Work(ledger.run, effect=True))
        first.gate.set()


async def test_after_the_lease_what_is_repeatable_is_repeated(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger
) -> None:
    with pytest.raises(RuntimeError):
        await act(here, desk.context("k"), crash())
    done = await act(there, desk.context("k"), Work(ledger.run, effect=True))
    assert (result(done), done.state.started and done.state.started.attempt) == (1, 2)
    assert await desk.types(TOOL) == [*STARTED, "started.v1", "finished.v1"]


async def test_after_the_lease_what_is_not_repeatable_is_unknown(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger
) -> None:
    with pytest.raises(RuntimeError):
        await act(here, desk.context("k"), crash(repeatable=False))
    for actions in (there, here):
        with pytest.raises(Conflict, match="nobody can tell"):
            await act(actions, desk.context("k"), Work(ledger.run, effect=True, repeatable=False))
    assert await desk.types(TOOL) == [*STARTED, "unknown.v1"]
    assert not ledger.done


async def test_the_late_answer_of_a_fenced_instance_changes_nothing(desk: Desk, here: Actions) -> None:
    late, found = Gated(desk), list[object]()
    context = desk.context("k")

    async def slow() -> None:
        found.append(result(await act(here, context, Work(late.run, effect=True))))

    async with anyio.create_task_group() as group:
        group.start_soon(slow)
        await late.begun.wait()
        relief = Started(owner="tool-2", lease_ms=now_ms() + 60_000, attempt=2)
        await write(desk, here.open(context), relief, Finished(outcome="ok", result="the second's", duration_ms=1))
        late.gate.set()
    assert found == ["the second's"]
    assert await desk.types(TOOL) == [*STARTED, "started.v1", "finished.v1"]


async def test_a_lease_is_renewed_while_the_work_goes_on(desk: Desk, here: Actions) -> None:
    async def until_renewed(action: Action) -> Outcome:
        while (await desk.types(TOOL)).count("started.v1") < 3:
            await desk.log.grown()
        return Outcome(Finished(outcome="ok", duration_ms=1))

    done = await act(here, desk.context(), Work(until_renewed, effect=True, lease_s=0.05))
    events = await desk.store.read(done.stream)
    starts = [Started.model_validate(e.envelope.data) for e in events if e.envelope.type == "tool.started.v1"]
    assert {(start.attempt, start.owner) for start in starts} == {(1, starts[0].owner)}
    assert [start.renewed for start in starts[:3]] == [False, True, True]
    assert starts[0].lease_ms < starts[1].lease_ms < starts[2].lease_ms


@pytest.mark.parametrize("repeatable", [True, False])
async def test_what_was_surely_not_done_may_be_tried_again_at_once(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger, repeatable: bool
) -> None:
    nobody = NotDone(Unavailable("no worker is running", retry_after_s=0.5))
    for actions in (here, there):
        with pytest.raises(Unavailable, match="no worker"):
            await act(actions, desk.context("k"), Work(raising(nobody), effect=True, repeatable=repeatable))
    done = await act(there, desk.context("k"), Work(ledger.run, effect=True, repeatable=repeatable))
    assert (result(done), done.state.started and done.state.started.attempt) == (1, 3)


async def give_back(desk: Desk, actions: Actions) -> None:
    nobody = NotDone(Unavailable("no worker is running"))
    with pytest.raises(Unavailable, match="no worker"):
        await act(actions, desk.context("k"), Work(raising(nobody), effect=True))


async def test_what_was_given_back_and_is_forbidden_since_is_not_begun(
    desk: Desk, here: Actions, ledger: Ledger
) -> None:
    await give_back(desk, here)
    await desk.publish(HARDER)
    for _ in range(2):
        with pytest.raises(Forbidden, match="frozen"):
            await act(here, desk.context("k"), Work(ledger.run, effect=True))
    assert (ledger.done, (await desk.types(TOOL))[-2:]) == ([], ["decided.v1", "finished.v1"])


async def test_what_was_given_back_and_asks_since_waits(desk: Desk, here: Actions, ledger: Ledger) -> None:
    await desk.join("a-desk", sponsor="u-sam")
    await give_back(desk, here)
    await desk.publish(POLICIES + '@id("new") @ask("finance") forbid (principal, action, resource);')
    for _ in range(2):
        with pytest.raises(ApprovalRequired):
            await act(here, desk.context("k"), Work(ledger.run, effect=True))
    assert (ledger.done, (await desk.types(TOOL))[-2:]) == ([], ["decided.v1", "parked.v1"])
    assert await desk.types("tool_parked") == ["noted.v1"]


async def test_what_was_given_back_is_decided_anew_on_the_record_where_that_says_something_else(
    desk: Desk, here: Actions, ledger: Ledger
) -> None:
    await give_back(desk, here)
    await give_back(desk, here)
    assert await desk.types(TOOL) == [*STARTED, "started.v1", "started.v1", "started.v1"]
    await desk.publish(POLICIES + '@id("more") permit (principal, action, resource);')
    done = await act(here, desk.context("k"), Work(ledger.run, effect=True))
    assert done.state.decided is not None and "more" in done.state.decided.policies
    assert (await desk.types(TOOL))[-3:] == ["decided.v1", "started.v1", "finished.v1"]


async def test_a_read_that_was_not_done_leaves_no_trail_yet(desk: Desk, here: Actions, ledger: Ledger) -> None:
    for error in (NotDone(Unavailable("no worker is running")), Lost("no answer")):
        with pytest.raises(Unavailable):
            await act(here, desk.context("k"), Work(raising(error)))
    assert await desk.types(TOOL) == []
    assert result(await act(here, desk.context("k"), Work(ledger.run))) == 1


async def test_a_lost_outcome_is_repeated_where_that_does_nothing_twice(
    desk: Desk, here: Actions, ledger: Ledger
) -> None:
    with pytest.raises(Unavailable, match="no answer; ask again"):
        await act(here, desk.context("k"), Work(raising(Lost("no answer")), effect=True))
    assert result(await act(here, desk.context("k"), Work(ledger.run, effect=True))) == 1


async def test_a_lost_outcome_is_unknown_where_it_might(desk: Desk, here: Actions, ledger: Ledger) -> None:
    for run in (raising(Lost("no answer")), ledger.run):
        with pytest.raises(Conflict, match="nobody can tell"):
            await act(here, desk.context("k"), Work(run, effect=True, repeatable=False))
    assert await desk.types(TOOL) == [*STARTED, "unknown.v1"]


@pytest.mark.parametrize("effect", [True, False])
async def test_a_problem_of_the_work_is_its_outcome(
    desk: Desk, here: Actions, there: Actions, ledger: Ledger, effect: bool
) -> None:
    for actions, run in ((here, raising(ToolFailed("no such order"))), (there, ledger.run)):
        with pytest.raises(ToolFailed, match="no such order"):
            await act(actions, desk.context("k"), Work(run, effect=effect))
    assert (await desk.types(TOOL)).count("finished.v1") == 1
    assert not (effect and ledger.done)


class Much(Ledger):
    """What comes of its work does not fit the log."""

    async def run(self, action: Action) -> Outcome:
        await super().run(action)
        return Outcome(Finished(outcome="ok", result="x" * 600_000, duration_ms=1))


async def test_a_result_that_does_not_fit_the_log_is_told_and_the_effect_is_not_repeated(
    desk: Desk, here: Actions, there: Actions
) -> None:
    much = Much(desk)
    with pytest.raises(Conflict, match=r"it ended, and .* bytes in the event log"):
        await act(here, desk.context("k"), Work(much.run, effect=True, lease_s=SHORT_S))
    with pytest.raises(Conflict, match="a person has to settle it"):
        await act(there, desk.context("k"), Work(much.run, effect=True, lease_s=SHORT_S))
    assert (len(much.done), await desk.types(TOOL)) == (1, [*STARTED, "unknown.v1"])


async def test_a_read_that_does_not_fit_the_log_has_failed(desk: Desk, here: Actions, there: Actions) -> None:
    much = Much(desk)
    for actions in (here, there):
        with pytest.raises(Invalid, match="ask for less"):
            await act(actions, desk.context("k"), Work(much.run))
    assert await desk.types(TOOL) == [*OPENED, "finished.v1"]


async def later(action: Action) -> None:
    await checkpoint()


async def test_an_outcome_may_come_later_from_elsewhere(desk: Desk, here: Actions, there: Actions) -> None:
    work = Work(later, effect=True, owner="a-desk/1", lease_s=60)
    begun = await act(here, desk.context("k"), work)
    assert begun.state.status == "started"
    assert (await act(there, desk.context("k"), work)).state.status == "started"
    loaded = await there.load(desk.context(), begun.id)
    await there.append(loaded, Finished(outcome="ok", result=7, duration_ms=1))
    assert (result(await act(here, desk.context("k"), work)), loaded.agent) == (7, "a-desk")
    assert await desk.types(TOOL) == DONE


async def test_another_owner_waits_for_an_outcome_that_comes_later(desk: Desk, here: Actions, there: Actions) -> None:
    found: list[object] = []

    async def other() -> None:
        work = Work(later, effect=True, owner="a-desk/2", repeatable=False)
        found.append(result(await act(there, desk.context("k"), work)))

    begun = await act(here, desk.context("k"), Work(later, effect=True, owner="a-desk/1", lease_s=60))
    async with anyio.create_task_group() as group:
        group.start_soon(other)
        await anyio.wait_all_tasks_blocked()
        await write(desk, begun, Finished(outcome="ok", result=7, duration_ms=1))
    assert found == [7]


KINDS = ("read", "write", "asked", "denied", "fails", "lost")
STEPS = st.lists(st.tuples(st.sampled_from(KINDS), st.booleans()), min_size=1, max_size=5)
REPEATS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=6)


class Play:
    """Commands one after the other, each at one of two instances; every one can be played again at any point."""

    def __init__(self) -> None:
        self.desk = Desk("tool")
        self.ledger = Ledger(self.desk)
        self.instances = (self.desk.actions(TOOL), self.desk.actions(TOOL))
        self.answers: dict[int, object] = {}

    async def step(self, number: int, kind: str, there: bool) -> object:
        context = self.desk.context(f"k{number}")
        runs = {
            "read": Ledger(self.desk).run,  # it may be looked again, and the first answer stands
            "fails": raising(ToolFailed("it fails")),
            "lost": raising(Lost("no answer")),
        }
        work = Work(runs.get(kind, self.ledger.run), effect=kind not in ("read", "fails"), repeatable=kind != "lost")
        try:
            done = await act(self.instances[there], context, work, tool=kind)
        except ApprovalRequired as asked:
            await self.desk.answer(StreamName("acme", TOOL, str(asked.extra["action"])), self.fay)
            return await self.step(number, kind, there)
        except Problem as problem:
            return problem.details
        return result(done)

    async def play(self, steps: list[tuple[str, bool]], repeats: list[tuple[int, int, bool]]) -> object:
        await self.desk.publish(POLICIES)
        await self.desk.join("a-desk")
        self.fay = await self.desk.join("u-fay", "finance")
        for number, (kind, there) in enumerate(steps):
            self.answers[number] = await self.step(number, kind, there)
            for _, which, other in [repeat for repeat in repeats if repeat[0] == number]:
                if which in self.answers:
                    assert await self.step(which, steps[which][0], other) == self.answers[which]
        events = [event.envelope async for event in self.desk.store.read_all()]
        return [(event.type, StreamName.parse(event.stream).id) for event in events], self.ledger.done


@settings(max_examples=60, deadline=None)
@given(STEPS, REPEATS)
def test_a_duplicate_at_any_point_changes_nothing(
    steps: list[tuple[str, bool]], repeats: list[tuple[int, int, bool]]
) -> None:
    assert anyio.run(Play().play, steps, repeats) == anyio.run(Play().play, steps, [])


@pytest.mark.parametrize("tool", ["asked", "denied"])
async def test_what_is_only_observed_is_done_and_told(desk: Desk, tool: str) -> None:
    ledger, stream = Ledger(desk), desk.actions(TOOL, observe=True)
    done = await act(stream, desk.context(), Work(ledger.run, effect=True), tool=tool)
    assert (done.state.status, ledger.done) == ("finished", [done.id])
    decided = done.state.decided
    assert decided is not None and decided.observed and decided.decision == ("ask" if tool == "asked" else "deny")
    assert await desk.types(TOOL) == DONE


async def test_what_was_parked_goes_on_once_decisions_are_only_observed(
    desk: Desk, here: Actions, ledger: Ledger
) -> None:
    context, work = desk.context("k"), Work(ledger.run, effect=True)
    await parked(here, context, work)
    await act(desk.actions(TOOL, observe=True), desk.context("k"), work, tool="asked")
    assert len(ledger.done) == 1
