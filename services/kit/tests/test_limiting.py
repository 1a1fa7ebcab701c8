"""An action that falls under shared limits begins with a share of each, or not at all."""

from typing import TypeVar

import pytest
from pydantic import JsonValue

from dominie_contracts import BudgetExceeded, Command, Forbidden, Message, Problem, QuotaExceeded, Unavailable
from dominie_contracts.action import Finished
from dominie_contracts.guardrail import Reservation, Reserve
from dominie_contracts.tool import TOOL
from dominie_kit import Action, Actions, Context, NotDone, Outcome, Request, Work
from dominie_kit.governed.limiting import Limiting
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.policy.question import Question

pytestmark = pytest.mark.anyio
R = TypeVar("R", bound=Message)
SPEND = '@id("spend") @limit("1000") @per("user") @within("day") @why("much") forbid (principal, action, resource);'
OFTEN = '@id("often") @calls("3") @per("agent") @within("hour") @why("often") forbid (principal, action, resource);'
TENANT = '@id("all-of-us") @calls("9") @per("tenant") @within("month") forbid (principal, action, resource);'


class Guardrail:
    """Answers what it is told to, and remembers what it was asked."""

    def __init__(self) -> None:
        self.answer: Reservation | Problem = Reservation(granted=True)
        self.asked: list[Reserve] = []

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        assert isinstance(command, Reserve)
        self.asked.append(command)
        if isinstance(self.answer, Problem):
            raise self.answer
        assert isinstance(self.answer, reply)
        return self.answer


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def guardrail() -> Guardrail:
    return Guardrail()


@pytest.fixture
def desk(guardrail: Guardrail) -> Desk:
    return Desk("tool", guardrail)


@pytest.fixture
def done() -> list[str]:
    return []


async def act(
    desk: Desk, done: list[str], *, effect: bool = True, key: str = "k", user: str = "u-dana", **more: int
) -> Action:
    async def run(action: Action) -> Outcome:
        done.append(action.id)
        return Outcome(Finished(outcome="ok", duration_ms=1))

    return await perform(desk, Work(run, effect=effect), key=key, user=user, **more)


async def perform(desk: Desk, work: Work, *, key: str = "k", user: str = "u-dana", **more: int) -> Action:
    actions: Actions = desk.actions(TOOL)
    context = desk.context(key, user=user)
    call: dict[str, JsonValue] = {
        "tenant": "acme",
        "user": user,
        "effect": "write",
        "kind": "worker",
        "version": "1",
        "untrusted": [],
    }
    question = Question(context.principal, "tool.invoke", "Tool", "refund", {**call, **more})
    return await actions.perform(actions.open(context), Request("tool.invoke", {}, "refund"), question, work)


@pytest.mark.parametrize("effect", [True, False])
async def test_it_reserves_a_share_of_each_limit_and_begins(
    desk: Desk, guardrail: Guardrail, done: list[str], effect: bool
) -> None:
    await desk.publish(PERMIT_ALL + SPEND + OFTEN + TENANT)
    action = await act(desk, done, effect=effect, amount=700)
    (asked,) = guardrail.asked
    assert done == [action.id] == [asked.action]
    found = {share.policy: share for share in asked.shares}
    assert {name: (share.amount, share.most, share.within) for name, share in found.items()} == {
        "spend": (700, 1000, "day"),
        "often": (1, 3, "hour"),
        "all-of-us": (1, 9, "month"),
    }
    assert (found["often"].scope, found["all-of-us"].scope) == ("agent a-desk", "tenant")


async def test_a_users_share_is_theirs_and_names_nobody(desk: Desk, guardrail: Guardrail, done: list[str]) -> None:
    await desk.publish(PERMIT_ALL + SPEND)
    for key, user in (("1", "u-dana"), ("2", "u-eli"), ("3", "u-dana")):
        await act(desk, done, key=key, user=user, amount=1)
    first, other, again = (asked.shares[0].scope for asked in guardrail.asked)
    assert first == again != other and "dana" not in first


async def test_without_a_limit_nobody_is_asked(desk: Desk, guardrail: Guardrail, done: list[str]) -> None:
    await desk.publish(PERMIT_ALL)
    await act(desk, done, amount=1)
    assert (len(done), guardrail.asked) == (1, [])


@pytest.mark.parametrize(("policy", "kind"), [(SPEND, BudgetExceeded), (OFTEN, QuotaExceeded)])
@pytest.mark.parametrize("effect", [True, False])
async def test_what_is_used_up_ends_it_on_the_record(
    desk: Desk, guardrail: Guardrail, done: list[str], policy: str, kind: type[Problem], effect: bool
) -> None:
    await desk.publish(PERMIT_ALL + policy)
    name = "spend" if policy == SPEND else "often"
    guardrail.answer = Reservation(granted=False, policy=name, used=3, resets_s=60)
    for _ in range(2):
        with pytest.raises(kind, match="3 of") as raised:
            await act(desk, done, effect=effect, amount=1)
    assert (raised.value.extra["policies"], raised.value.extra["resets_s"]) == ([name], 60)
    assert await desk.types(TOOL) == ["requested.v1", "decided.v1", "finished.v1"]
    assert (done, len(guardrail.asked)) == ([], 1)


@pytest.mark.parametrize("effect", [True, False])
async def test_a_repeated_command_takes_no_second_share(
    desk: Desk, guardrail: Guardrail, done: list[str], effect: bool
) -> None:
    await desk.publish(PERMIT_ALL + SPEND)
    for _ in range(3):
        await act(desk, done, effect=effect, amount=1)
    assert (len(done), len(guardrail.asked)) == (1, 1)


async def test_while_guardrail_is_away_nothing_begins_and_nothing_is_written(
    desk: Desk, guardrail: Guardrail, done: list[str]
) -> None:
    await desk.publish(PERMIT_ALL + SPEND)
    guardrail.answer = Unavailable("away", retry_after_s=1)
    with pytest.raises(Unavailable):
        await act(desk, done, amount=1)
    assert (done, await desk.types(TOOL)) == ([], [])


async def test_what_cannot_be_counted_is_refused(desk: Desk, guardrail: Guardrail, done: list[str]) -> None:
    await desk.publish(PERMIT_ALL + SPEND)
    with pytest.raises(Forbidden, match="no amount"):
        await act(desk, done)
    assert (done, guardrail.asked) == ([], [])


async def test_what_was_given_back_reserves_again(desk: Desk, guardrail: Guardrail, done: list[str]) -> None:
    async def nobody(action: Action) -> Outcome:
        raise NotDone(Unavailable("no worker is running"))

    await desk.publish(PERMIT_ALL + SPEND)
    with pytest.raises(Unavailable):
        await perform(desk, Work(nobody, effect=True), amount=1)
    guardrail.answer = Reservation(granted=False, policy="spend", used=1000, resets_s=60)
    with pytest.raises(BudgetExceeded):
        await act(desk, done, amount=1)
    assert (len(guardrail.asked), done) == (2, [])


async def test_what_was_given_back_falls_under_limits_that_are_new(
    desk: Desk, guardrail: Guardrail, done: list[str]
) -> None:
    async def nobody(action: Action) -> Outcome:
        raise NotDone(Unavailable("no worker is running"))

    await desk.publish(PERMIT_ALL)
    with pytest.raises(Unavailable):
        await perform(desk, Work(nobody, effect=True), amount=1)
    await desk.publish(PERMIT_ALL + SPEND)
    guardrail.answer = Reservation(granted=False, policy="spend", used=1000, resets_s=60)
    with pytest.raises(BudgetExceeded):
        await act(desk, done, amount=1)
    assert (done, (await desk.types(TOOL))[-2:]) == ([], ["decided.v1", "finished.v1"])


async def test_where_decisions_are_only_observed_no_share_is_taken(
    desk: Desk, guardrail: Guardrail, done: list[str]
) -> None:
    await desk.publish(PERMIT_ALL + OFTEN)
    action = await act(desk, done)
    decided = action.state.decided
    assert decided is not None and decided.limits
    limiting = Limiting(guardrail)
    assert await limiting.refusal(action, decided.model_copy(update={"observed": True})) is None
    assert len(guardrail.asked) == 1
