"""An action that asks people: whose yes lets it go on, once, and what does not, whoever wrote it."""

from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest

from dominie import Credentials
from dominie_contracts import ApprovalRequired, Conflict, Forbidden, Payload, StreamName, Unavailable
from dominie_contracts.action import Finished, Parked
from dominie_contracts.identity import PRINCIPAL, Revoked, Suspended
from dominie_contracts.people import Login
from dominie_contracts.provenance import Integrity
from dominie_contracts.registry import parse_own
from dominie_contracts.tool import TOOL
from dominie_kit import Action, Actions, NotDone, Outcome, Request, Work
from dominie_kit.bus import now_ms
from dominie_kit.governed.approving import MAX_ROUNDS
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.policy.question import Question

pytestmark = pytest.mark.anyio

FORBID = '@id("{}") @why("{} looks at this") {} forbid (principal, action, resource);\n'
FINANCE = FORBID.format("big", "finance", '@ask("finance")')
RISK = FORBID.format("odd", "risk", '@ask("risk")')
PAIR = FORBID.format("pair", "finance", '@ask("finance") @quorum("2")')
EYES = FORBID.format("eyes", "finance", '@ask("finance") @four_eyes')
OPENED = ["requested.v1", "decided.v1", "parked.v1"]
DONE = ["approved.v1", "decided.v1", "started.v1", "finished.v1"]
AGO_S = 16 * 60


@dataclass
class Case:
    """One action of a-desk for u-dana, and the people around it."""

    desk: Desk
    people: dict[str, Credentials] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.here, self.there = self.desk.actions(TOOL), self.desk.actions(TOOL)

    async def act(self, actions: Actions | None = None, *, key: str = "k", cents: float = 9000, **more: Any) -> Action:
        actions = actions or self.here
        labels: dict[str, Integrity] = more.pop("labels", {})
        run = more.pop("work", self.run)
        arguments = {"cents": cents, "text": more.pop("text", "")}
        context = self.desk.context(key, **more)
        call: Any = {"tenant": "acme", "user": "u-dana", "effect": "write", "kind": "worker", "version": "1"}
        question = Question(
            "a-desk", "tool.invoke", "Tool", "refund", {**call, "untrusted": [], "arguments": arguments}
        )
        request = Request("tool.invoke", arguments, "refund", labels=labels)
        return await actions.perform(actions.open(context), request, question, Work(run, effect=True))

    async def run(self, action: Action) -> Outcome:
        self.done.append(action.id)
        return Outcome(Finished(outcome="ok", result=len(self.done), duration_ms=1))

    async def waits(self, *actions: Actions, **more: Any) -> ApprovalRequired:
        with pytest.raises(ApprovalRequired) as raised:
            await self.act(*actions, **more)
        return raised.value

    async def answer(self, who: str = "u-fay", **more: Any) -> None:
        await self.desk.answer(self.stream(), self.people[who], **more)

    def stream(self, key: str = "k") -> StreamName:
        return self.here.open(self.desk.context(key)).stream

    async def trail(self) -> list[Payload]:
        return [parse_own(event) for event in await self.desk.store.read(self.stream())]

    async def parked(self) -> list[Parked]:
        return [event for event in await self.trail() if isinstance(event, Parked)]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def case() -> Case:
    desk = Desk("tool")
    case = Case(desk)
    await desk.publish(PERMIT_ALL + FINANCE)
    await desk.join("a-desk", sponsor="u-sam")
    for name, groups in (("fay", "finance"), ("gil", "finance"), ("rob", "risk"), ("sam", "finance")):
        case.people[f"u-{name}"] = await desk.join(f"u-{name}", groups)
    case.people["u-dana"] = await desk.join("u-dana", "finance")
    case.people["u-all"] = await desk.join("u-all", "finance", "risk")
    return case


async def test_a_yes_lets_it_go_on_once(case: Case) -> None:
    asked = await case.waits()
    assert (await case.waits(case.there)).extra == asked.extra and not case.done
    assert (asked.extra["groups"], asked.detail) == (["finance"], "finance looks at this (waits for finance)")
    await case.answer()
    for actions in (case.here, case.there, case.here):
        done = (await case.act(actions)).state.finished
        assert done is not None and done.result == 1
    assert await case.desk.types(TOOL) == [*OPENED, *DONE]


async def test_what_asks_has_its_arguments_on_the_record_once_and_they_may_be_large(case: Case) -> None:
    await case.waits(text="x" * 140_000)
    (parked,) = await case.parked()
    assert parked.arguments == {}
    await case.answer()
    await case.act(text="x" * 140_000)
    assert len(case.done) == 1


async def test_a_yes_holds_where_guardrails_clock_is_ahead(case: Case) -> None:
    await case.waits()
    await case.answer(answered_ms=now_ms() + 4_000)
    await case.act()
    assert len(case.done) == 1


async def given_back(case: Case) -> None:
    async def nobody(action: Action) -> Outcome:
        raise NotDone(Unavailable("no worker is running"))

    with pytest.raises(Unavailable, match="no worker"):
        await case.act(work=nobody)


async def test_what_was_given_back_goes_on_with_the_yes_it_had(case: Case) -> None:
    await case.waits()
    await case.answer()
    await given_back(case)
    await case.act()
    assert len(case.done) == 1
    assert await case.desk.types(TOOL) == [*OPENED, *DONE[:3], "started.v1", "started.v1", "finished.v1"]


@pytest.mark.parametrize(("policies", "said"), [(FINANCE + RISK, "no longer"), (FINANCE, "not registered")])
async def test_what_was_given_back_is_not_begun_when_its_yes_holds_no_longer(
    case: Case, policies: str, said: str
) -> None:
    await case.waits()
    await case.answer()
    await given_back(case)
    if said == "not registered":
        revoked = Revoked(tenant="acme", principal="u-fay", by="operator", reason="left")
        for event in await case.desk.append(PRINCIPAL, "u-fay", revoked):
            case.desk.standing.apply(event)
    await case.desk.publish(PERMIT_ALL + policies)
    for _ in range(2):
        with pytest.raises(Forbidden, match=said):
            await case.act()
    assert not case.done


async def test_two_instances_consume_one_approval_once(case: Case) -> None:
    await case.waits()
    await case.answer()
    async with anyio.create_task_group() as group:
        for actions in (case.here, case.there):
            group.start_soon(case.act, actions)
    assert len(case.done) == 1
    assert (await case.desk.types(TOOL)).count("approved.v1") == 1


async def test_a_yes_is_for_its_own_action_alone(case: Case) -> None:
    first, second = await case.waits(), await case.waits(key="other")
    assert first.extra["digest"] != second.extra["digest"]
    await case.answer()
    await case.waits(key="other")
    await case.act()
    await case.waits(key="new")


@pytest.mark.parametrize(
    ("who", "changed", "why"),
    [
        ("u-fay", {"decision": "deny", "note": "too much"}, "u-fay said no: too much"),
        ("u-fay", {"digest": "of something else"}, "for something else"),
        ("u-fay", {"action": "another"}, "for something else"),
        ("u-fay", {"by": "a-desk"}, "no person"),
        ("u-fay", {"by": "u-gil"}, "not signed with its approver's key"),
        ("u-fay", {"by": "u-nobody"}, "not registered"),
        ("u-dana", {}, "asked for it"),
        ("u-sam", {}, "is the sponsor"),
        ("u-rob", {}, "not in finance"),
        ("u-fay", {"groups": ("finance", "risk")}, "not in risk"),
        ("u-fay", {"proof": ""}, "not signed"),
        ("u-fay", {"nkey": "U-another"}, "names another key"),
        ("u-fay", {"proof": "e30.e30.e30"}, "not signed"),
        ("u-fay", {"signed": {"digest": "e"}}, "another answer"),
        ("u-fay", {"signed": {"action": "e"}}, "another answer"),
        ("u-fay", {"signed": {"decision": "deny"}}, "another answer"),
        ("u-fay", {"signed": {"asks": ["e"]}}, "other policies"),
        ("u-fay", {"answered_ms": now_ms() - 600_000}, "not signed when it was given"),
        ("u-fay", {"answered_ms": now_ms() + 86_400_000}, "later than now"),
    ],
)
async def test_what_is_no_yes_ends_it(case: Case, who: str, changed: dict[str, Any], why: str) -> None:
    await case.waits()
    await case.answer(who, **changed)
    for actions in (case.there, case.here):
        with pytest.raises(Forbidden, match=why):
            await case.act(actions)
    assert await case.desk.types(TOOL) == [*OPENED, "finished.v1"] and not case.done


async def test_who_signed_in_long_ago_says_nothing(case: Case) -> None:
    fay = case.people["u-fay"]
    await case.waits()
    case.people["u-fay"] = Credentials("", "acme", "u-fay", fay.keys, auth_time=now_ms() // 1000 - AGO_S)
    await case.answer()
    with pytest.raises(Forbidden, match="signed in more than 15 minutes before"):
        await case.act()


@pytest.mark.parametrize(
    ("ago_s", "left_s", "why"),
    [(60, 60, None), (AGO_S, 60, "signed in more than 15 minutes before"), (60, -1, "login of u-fay was over")],
    ids=["of late", "long ago", "over"],
)
async def test_identity_knows_when_somebody_signed_in_whom_an_issuer_vouched_for(
    case: Case, ago_s: int, left_s: int, why: str | None
) -> None:
    fay, now_s = case.people["u-fay"], now_ms() // 1000
    login = Login(issuer="corp", subject="s", token="t", auth_time=now_s - ago_s, until_s=now_s + left_s)
    await case.waits()
    await case.desk.join("u-fay", "finance", nkey=fay.keys.public, login=login)
    await case.answer()  # which says that they signed in just now
    if why is None:
        await case.act()
        return
    with pytest.raises(Forbidden, match=why):
        await case.act()


@pytest.mark.parametrize(("left_s", "counts"), [(60, True), (-60, False)])
async def test_the_key_before_counts_while_it_is_taken(case: Case, left_s: int, counts: bool) -> None:
    old = case.people["u-fay"].keys.public
    until = now_ms() // 1000 + left_s
    await case.waits()
    await case.desk.join("u-fay", "finance", previous=old, previous_until_s=until)
    await case.answer()
    if counts:
        await case.act()
        return
    with pytest.raises(Forbidden, match="not signed with its approver's key"):
        await case.act()


async def test_a_second_name_with_the_key_that_the_user_had_says_nothing(case: Case) -> None:
    keys = case.people["u-dana"].keys
    await case.desk.join("u-dana", "finance", previous=keys.public, previous_until_s=1)
    await case.desk.join("u-double", "finance", nkey=keys.public)
    case.people["u-double"] = Credentials("", "acme", "u-double", keys)
    await case.waits()
    await case.answer("u-double")
    with pytest.raises(Forbidden, match="has the key of somebody who asked"):
        await case.act()


async def test_a_second_name_with_the_users_key_says_nothing(case: Case) -> None:
    nkey = case.people["u-dana"].keys
    await case.desk.join("u-double", "finance", nkey=nkey.public)
    case.people["u-double"] = Credentials("", "acme", "u-double", nkey)
    await case.waits()
    await case.answer("u-double")
    with pytest.raises(Forbidden, match="has the key of somebody who asked"):
        await case.act()


@pytest.mark.parametrize("kind", [Revoked, Suspended])
async def test_who_has_left_says_nothing_any_more(case: Case, kind: type[Revoked] | type[Suspended]) -> None:
    await case.waits()
    await case.answer()
    gone = kind(tenant="acme", principal="u-fay", by="operator", reason="left")
    for event in await case.desk.append(PRINCIPAL, "u-fay", gone):
        case.desk.standing.apply(event)
    with pytest.raises(Forbidden, match="not registered, or no longer"):
        await case.act()


async def test_an_agent_that_nobody_knows_waits(case: Case) -> None:
    case.desk.standing.reset()
    await case.waits()
    with pytest.raises(Unavailable, match="who answers for a-desk"):
        await case.act()


async def test_policies_that_became_harder_beat_a_yes(case: Case) -> None:
    await case.waits()
    await case.answer()
    await case.desk.publish(PERMIT_ALL + FINANCE + '@id("freeze") @why("frozen") forbid (principal, action, resource);')
    for _ in range(2):
        with pytest.raises(Forbidden, match="frozen"):
            await case.act()
    assert not case.done


async def test_policies_that_no_longer_ask_let_it_go_on(case: Case) -> None:
    await case.waits()
    await case.desk.publish(PERMIT_ALL)
    await case.act()
    assert await case.desk.types(TOOL) == [*OPENED, *DONE[1:]]


async def test_a_new_ask_alone_goes_back_to_people(case: Case) -> None:
    await case.waits()
    await case.answer()
    await case.desk.publish(PERMIT_ALL + FINANCE + RISK)
    assert (await case.waits()).extra["groups"] == ["risk"]
    await case.waits(case.there)
    assert [[ask.policy for ask in each.asks] for each in await case.parked()] == [["big"], ["odd"]]
    await case.answer("u-rob")
    await case.act()
    assert await case.desk.types(TOOL) == [*OPENED, "decided.v1", "parked.v1", *DONE]


async def test_a_policy_in_other_words_asks_again(case: Case) -> None:
    await case.waits()
    await case.answer()
    await case.desk.publish(PERMIT_ALL + FINANCE.replace("resource)", 'resource == Tool::"refund")'))
    await case.waits()
    await case.answer("u-gil")
    await case.act()
    assert len(case.done) == 1


async def test_other_labels_ask_again(case: Case) -> None:
    await case.waits()
    await case.answer()
    await case.waits(labels={"cents": "untrusted"})
    assert len({each.digest for each in await case.parked()}) == 2
    await case.answer("u-gil")
    await case.act(labels={"cents": "untrusted"})
    assert len(case.done) == 1


async def test_it_asks_so_often_and_no_more(case: Case) -> None:
    labels: tuple[dict[str, Integrity], ...] = ({}, {"cents": "untrusted"})
    for number in range(MAX_ROUNDS):
        await case.waits(labels=labels[number % 2])
    with pytest.raises(Forbidden, match=f"asked people {MAX_ROUNDS} times"):
        await case.act(labels=labels[MAX_ROUNDS % 2])
    assert (await case.desk.types(TOOL))[-1] == "finished.v1"


async def test_a_yes_that_lapsed_is_asked_for_again(case: Case) -> None:
    await case.waits()
    await case.answer(expires_ms=now_ms() - 1)
    await anyio.sleep(0.002)  # what is asked in the same millisecond might be what was answered
    for _ in range(3):
        await case.waits()
    assert len(await case.parked()) == 2 and not case.done
    await case.answer()
    await case.act()
    assert len(case.done) == 1


@pytest.mark.parametrize("cents", [0.1 + 0.2, 0.30000000000000004, 1, -0.3])
async def test_another_request_under_its_key_is_refused_and_on_the_record_once(case: Case, cents: float) -> None:
    await case.waits(cents=0.3)
    await case.answer()
    for actions in (case.here, case.there, case.here):
        with pytest.raises(Conflict, match="another request"):
            await case.act(actions, cents=cents)
    assert await case.desk.types(TOOL) == [*OPENED, "mistaken.v1"]
    await case.act(cents=0.3)
    with pytest.raises(Conflict):
        await case.act(cents=cents)
    assert await case.desk.types(TOOL) == [*OPENED, "mistaken.v1", *DONE]


@pytest.mark.parametrize(
    ("policies", "answers", "left"),
    [
        pytest.param(PAIR, ["u-fay"], ["2 of finance"], id="one of two"),
        pytest.param(PAIR, ["u-fay", "u-fay"], ["2 of finance"], id="one, twice"),
        pytest.param(PAIR, ["u-fay", "u-gil"], None, id="two of two"),
        pytest.param(FINANCE + RISK, ["u-fay"], ["risk"], id="one of two groups"),
        pytest.param(FINANCE + RISK, ["u-fay", "u-rob"], None, id="each their own"),
        pytest.param(FINANCE + RISK, ["u-all"], None, id="one for both"),
        pytest.param(EYES + RISK, ["u-all"], ["finance", "two people in all"], id="one for both, where two are wanted"),
        pytest.param(EYES + RISK, ["u-all", "u-rob"], None, id="two people for both"),
        pytest.param(EYES, ["u-fay"], ["finance", "two people in all"], id="two of four eyes"),
        pytest.param(EYES, ["u-fay", "u-gil"], None, id="four eyes"),
    ],
)
async def test_each_ask_wants_its_own_people(
    case: Case, policies: str, answers: list[str], left: list[str] | None
) -> None:
    await case.desk.publish(PERMIT_ALL + policies)
    await case.waits()
    for who in answers:
        await case.answer(who, groups=case.desk.standing.find("acme", who).groups)  # type: ignore[union-attr]  # joined
    if left is not None:
        assert f"waits for {', '.join(left)}" in (await case.waits()).detail
        return
    await case.act()
    (approved,) = [event for event in await case.trail() if event.KIND == "approved.v1"]
    assert getattr(approved, "by", ()) == tuple(answers)


async def test_two_names_with_one_key_are_one_person(case: Case) -> None:
    keys = case.people["u-fay"].keys
    await case.desk.join("u-fay2", "finance", nkey=keys.public)
    case.people["u-fay2"] = Credentials("", "acme", "u-fay2", keys)
    await case.desk.publish(PERMIT_ALL + PAIR)
    await case.waits()
    await case.answer()
    await case.answer("u-fay2")
    await case.waits()
    await case.answer("u-gil")
    await case.act()
