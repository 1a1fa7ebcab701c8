"""Commands as the edge hands them on: what they answer, and what the log then holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dominie import Credentials
from dominie.answers import sign_answer
from dominie.keys import KeyPair
from dominie_contracts import Conflict, Forbidden, Invalid, Problem, StreamName, Unauthenticated
from dominie_contracts.guardrail import (
    APPROVAL,
    POLICY,
    POLICY_SET,
    Answered,
    AnswersRefused,
    Approve,
    ListApprovals,
    PolicyFile,
    ProposePolicies,
    PublishPolicies,
)
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.registry import parse_own
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.tool import CATALOG, TOOL, ToolRegistered, ToolSpec
from dominie_guardrail.adapters.refusals import Refusals
from dominie_guardrail.handlers import Handlers
from dominie_guardrail.projection import InForce
from dominie_guardrail.settings import DEFAULT_POLICIES
from dominie_kit.context import Context
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.policy.checking import check_policies
from dominie_kit.policy.folder import NoPolicies, read_policies

pytestmark = pytest.mark.anyio

MORE = PERMIT_ALL + '@id("frozen") forbid (principal, action, resource);'


def publish(text: str = PERMIT_ALL) -> PublishPolicies:
    return PublishPolicies(files=(PolicyFile(name="a.cedar", text=text),))


def person(desk: Desk, name: str = "u-fay", *groups: str, tenant: str = "acme") -> Context:
    return replace(desk.context(agent=name, tenant=tenant), claims=None, groups=groups or ("finance",))


class Say:
    """What people answer; each is registered when they first do."""

    def __init__(self, desk: Desk, handlers: Handlers) -> None:
        self._desk, self._handlers = desk, handlers
        self._people: dict[tuple[str, str], Credentials] = {}

    async def __call__(
        self, name: str = "u-fay", *groups: str, action: str = "act-1", decision: str = "grant", **more: Any
    ) -> Answered:
        context = person(self._desk, name, *groups, tenant=more.pop("tenant", "acme"))
        shown = {"action": action, "digest": f"digest of {more.pop('cents', 9000)}", "decision": decision}
        who = await self._who(context)
        asks = [f"ask-{group}@" for group in ("finance", "legal")]
        proof = more["proof"] if "proof" in more else sign_answer(who, **{**shown, "asks": asks, **more})
        return await self._handlers.approve(Approve.model_validate({**shown, "proof": proof}), context)

    async def _who(self, context: Context) -> Credentials:
        name = context.tenant, context.principal
        if name not in self._people:
            self._people[name] = await self._desk.join(context.principal, *context.groups, tenant=context.tenant)
        return self._people[name]


@pytest.fixture
def say(desk: Desk, handlers: Handlers) -> Say:
    return Say(desk, handlers)


async def statuses(handlers: Handlers, context: Context, status: Any = "all") -> dict[str, str]:
    found = await handlers.approvals(ListApprovals(status=status), context)
    return {view.action: view.status for view in found.approvals}


async def test_a_set_comes_into_force_once(desk: Desk, handlers: Handlers, in_force: InForce) -> None:
    first = await handlers.publish(publish(), desk.context())
    again = await handlers.publish(publish(), desk.context())
    assert (first.changed, first.policies, again.changed, again.digest) == (True, 1, False, first.digest)
    await desk.caught_up()
    assert in_force.digest == first.digest
    assert await desk.types(POLICY) == ["published.v1"]


OPERATOR = ("developers", "operators")


async def test_a_proposed_set_is_kept_in_its_tenant_and_not_in_force(
    desk: Desk, handlers: Handlers, in_force: InForce
) -> None:
    await handlers.publish(publish(), desk.context())
    command = ProposePolicies(files=publish(MORE).files)
    found = [await handlers.propose(command, person(desk, "u-dev", *OPERATOR)) for _ in range(2)]
    assert found[0].policies == 2 and found[0].digest == found[1].digest and found[0].position < found[1].position
    kept = await desk.store.read(StreamName("acme", POLICY, found[0].digest))
    assert [event.envelope.type for event in kept] == ["policy.proposed.v1"] * 2
    await desk.caught_up()
    assert in_force.digest != found[0].digest
    assert (in_force.digest, in_force.position) == (
        (await handlers.publish(publish(), desk.context())).digest,
        found[1].position,
    )


@pytest.mark.parametrize("groups", [("finance",), ("developers",), ("operators",)])
async def test_only_developers_whom_the_operator_lets_propose(
    desk: Desk, handlers: Handlers, groups: tuple[str, ...]
) -> None:
    with pytest.raises(Forbidden, match="ask the operator"):
        await handlers.propose(ProposePolicies(files=publish().files), person(desk, "u-dev", *groups))
    assert await desk.types(POLICY) == []


async def test_what_is_no_policy_set_is_not_proposed(desk: Desk, handlers: Handlers) -> None:
    with pytest.raises(Invalid, match="does not parse"):
        await handlers.propose(ProposePolicies(files=publish("permit").files), person(desk, "u-dev", *OPERATOR))
    assert await desk.types(POLICY) == []


async def test_a_set_can_come_back(desk: Desk, handlers: Handlers, in_force: InForce) -> None:
    digests = [
        (await handlers.publish(publish(text), desk.context())).digest for text in (PERMIT_ALL, MORE, PERMIT_ALL)
    ]
    await desk.caught_up()
    assert digests[0] == digests[2] == in_force.digest
    assert len(await desk.types(POLICY)) == 3


@pytest.mark.parametrize("text", ["permit (", "permit (principal, action, resource);", ""])
async def test_a_bad_set_leaves_the_last_good_one(desk: Desk, handlers: Handlers, in_force: InForce, text: str) -> None:
    good = await handlers.publish(publish(), desk.context())
    with pytest.raises(Invalid) as raised:
        await handlers.publish(publish(text), desk.context())
    assert raised.value.extra["problems"]
    await desk.caught_up()
    assert in_force.digest == good.digest
    assert len(await desk.types(POLICY)) == 1


def test_the_default_set_holds() -> None:
    assert check_policies(read_policies(DEFAULT_POLICIES)) >= 1


def test_a_folder_without_policies_is_refused(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(NoPolicies):
            read_policies(folder)
    for name in ("b.cedar", "a.cedar", "notes.txt"):
        (tmp_path / name).write_text(name)
    assert [file.name for file in read_policies(tmp_path)] == ["a.cedar", "b.cedar"]


@pytest.mark.parametrize("category", [TOOL, MODEL, MEMORY])
async def test_what_waits_is_listed_whole(desk: Desk, handlers: Handlers, park: Any, category: str) -> None:
    parked = await park(category=category)
    (view,) = (await handlers.approvals(ListApprovals(), person(desk))).approvals
    assert (view.action, view.category, view.status, view.run) == ("act-1", category, "pending", "r-1")
    assert (view.arguments, view.labels, view.digest, view.asks) == (
        {"cents": 9000},
        {"cents": "untrusted"},
        parked.digest,
        parked.asks,
    )


async def test_what_is_too_large_for_a_list_is_shown_whole_by_its_id(desk: Desk, handlers: Handlers, park: Any) -> None:
    for number in range(12):
        await park(f"act-{number:02}", note="x" * 100_000)
    found = await handlers.approvals(ListApprovals(), person(desk))
    assert len(found.model_dump_json()) < 500_000 and found.more == 0
    assert [(view.action, view.whole, view.arguments) for view in found.approvals] == [
        (f"act-{number:02}", False, {}) for number in range(12)
    ]
    one = await handlers.approvals(ListApprovals(status="all", action="act-03"), person(desk))
    (view,) = one.approvals
    assert (view.whole, view.arguments["note"], view.labels) == (True, "x" * 100_000, {"cents": "untrusted"})


async def test_of_more_than_fits_the_newest_are_listed_and_the_others_counted(
    desk: Desk, handlers: Handlers, park: Any
) -> None:
    ids = [f"act-{number:03}" for number in range(230)]
    for id in ids:
        await park(id, note="x" * 3500)
    found = await handlers.approvals(ListApprovals(), person(desk))
    shown = [view.action for view in found.approvals]
    assert len(found.model_dump_json()) < 600_000
    assert 50 < len(shown) < 200 and shown == ids[-len(shown) :] and found.more == len(ids) - len(shown)
    few = await handlers.approvals(ListApprovals(most=3), person(desk))
    assert ([view.action for view in few.approvals], few.more) == (ids[-3:], 227)


async def test_a_tenant_sees_its_own_alone(desk: Desk, handlers: Handlers, park: Any, say: Say) -> None:
    await park("act-1")
    await park("act-2", tenant="other")
    assert await statuses(handlers, person(desk)) == {"act-1": "pending"}
    assert await statuses(handlers, person(desk, tenant="other")) == {"act-2": "pending"}
    with pytest.raises(Invalid, match="nothing waits"):
        await say(action="act-2")


@pytest.mark.parametrize(
    ("name", "groups", "sees"),
    [
        ("u-fay", ("finance",), True),
        ("u-dana", ("sales",), True),
        ("u-sam", ("sales",), True),
        ("u-dev", ("developers",), True),
        ("u-ada", ("auditors",), True),
        ("u-gil", ("sales",), False),
        ("u-gil", ("privacy",), False),
    ],
)
async def test_nobody_sees_what_does_not_concern_them(
    desk: Desk, handlers: Handlers, park: Any, name: str, groups: tuple[str, ...], sees: bool
) -> None:
    await park(user="u-dana")
    assert bool(await statuses(handlers, person(desk, name, *groups))) is sees


async def test_a_yes_is_recorded_once_and_no_longer_pending(
    desk: Desk, handlers: Handlers, park: Any, say: Say
) -> None:
    await park()
    for _ in range(2):
        assert (await say()).left == ()
    assert await desk.types(APPROVAL) == ["answered.v1"]
    assert await statuses(handlers, person(desk), "pending") == {}
    assert await statuses(handlers, person(desk)) == {"act-1": "granted"}


async def test_the_answer_says_who_and_for_how_long(desk: Desk, say: Say, park: Any, clock: Any) -> None:
    await park()
    await say("u-fay", "finance", "legal", decision="deny")
    (event,) = [event async for event in desk.store.read_all(category=APPROVAL)]
    data = event.envelope.data
    assert (data["by"], data["groups"], data["decision"]) == ("u-fay", ["finance"], "deny")
    assert data["expires_ms"] == clock.now_ms + 60_000
    assert event.envelope.stream.endswith("approval.act-1")


async def test_the_answer_is_on_behalf_of_who_waits_under_whose_key_it_is(desk: Desk, say: Say, park: Any) -> None:
    await park(user="u-dana")
    await say()
    (event,) = [event async for event in desk.store.read_all(category=APPROVAL)]
    assert event.envelope.on_behalf_of == "u-dana"


async def test_each_group_answers_for_itself(desk: Desk, handlers: Handlers, park: Any, say: Say) -> None:
    await park(groups=("finance", "legal"))
    assert [ask.group for ask in (await say()).left] == ["legal"]
    (view,) = (await handlers.approvals(ListApprovals(), person(desk))).approvals
    assert (view.status, [ask.group for ask in view.left], view.answers[0].policies) == (
        "pending",
        ["legal"],
        ("ask-finance",),
    )
    assert (await say("u-leo", "legal")).left == ()
    assert await statuses(handlers, person(desk)) == {"act-1": "granted"}


async def test_what_was_answered_stands(desk: Desk, park: Any, say: Say) -> None:
    await park()
    await say()
    with pytest.raises(Conflict, match="answered already"):
        await say(decision="deny")
    with pytest.raises(Conflict, match="answered already"):
        await say("u-gil")
    assert (await desk.types(APPROVAL)).count("answered.v1") == 1


async def test_who_is_not_asked_may_not_answer(desk: Desk, park: Any, say: Say) -> None:
    await park(user="u-dana")
    for name, *groups in (("u-gil", "sales"), ("a-desk2",), ("u-sam",), ("u-dana",)):
        with pytest.raises(Forbidden, match="you may not answer this"):
            await say(name, *groups)
    assert "answered.v1" not in await desk.types(APPROVAL)


@pytest.mark.parametrize(
    ("more", "kind", "why"),
    [
        ({"proof": None}, Unauthenticated, "signed with the approver's own key"),
        ({"proof": "no token"}, Unauthenticated, "not signed"),
        ({"cents": 10}, Conflict, "not those you were shown"),
        ({"asks": ["ask-finance@of other words"]}, Conflict, "what asks is not"),
        ({"action": "act-2"}, Invalid, "nothing waits"),
    ],
)
async def test_what_is_no_answer_is_refused_and_counted(
    desk: Desk, park: Any, say: Say, more: dict[str, Any], kind: type[Problem], why: str
) -> None:
    await park()
    with pytest.raises(kind, match=why):
        await say(**more)
    assert await desk.types(APPROVAL) == ["refused.v1"]


async def test_a_key_of_somebody_else_is_no_answer(desk: Desk, park: Any, say: Say) -> None:
    await park()
    other = Credentials("", "acme", "u-fay", KeyPair.generate())
    with pytest.raises(Unauthenticated, match="not signed"):
        await say(proof=sign_answer(other, "act-1", "digest of 9000", ["ask-finance@"], "grant"))


async def test_after_its_time_nobody_answers(desk: Desk, handlers: Handlers, park: Any, clock: Any, say: Say) -> None:
    parked = await park()
    clock.now_ms = parked.expires_ms + 1
    with pytest.raises(Unauthenticated, match="not signed when it was given"):
        await say()
    assert await statuses(handlers, person(desk)) == {"act-1": "expired"}


async def test_refusals_are_counted_and_seldom_written(desk: Desk, park: Any, say: Say, refusals: Refusals) -> None:
    await park()
    for number in range(20):
        with pytest.raises((Forbidden, Invalid)):
            await say("u-gil", "sales", action="act-1" if number % 2 else f"guess-{number}")
    assert await desk.types(APPROVAL) == ["refused.v1"]
    for _ in range(3):
        await refusals.flush()
    events = [parse_own(event) async for event in desk.store.read_all(category=APPROVAL)]
    assert [event.problems for event in events if isinstance(event, AnswersRefused)] == [
        {"invalid": 1},
        {"forbidden": 10, "invalid": 9},
    ]
    assert all(isinstance(event, AnswersRefused) and event.by == "u-gil" for event in events)


async def test_a_set_says_who_wrote_it_and_what_is_new_in_it(desk: Desk, handlers: Handlers) -> None:
    await handlers.publish(publish().model_copy(update={"author": "dana"}), desk.context())
    done = await handlers.publish(publish(MORE), desk.context())
    assert (done.diff.added, done.diff.changed, done.diff.removed) == (("frozen",), (), ())
    first, second = await desk.store.read(StreamName(PLATFORM, POLICY, POLICY_SET))
    assert (first.envelope.data["author"], first.envelope.data["replaces"]) == ("dana", None)
    assert second.envelope.data["replaces"] == first.envelope.data["digest"]
    assert done.position == second.position
    again = await handlers.publish(publish(MORE), desk.context())
    assert (again.changed, again.position) == (False, second.position)


async def test_a_tenants_set_is_its_own_and_takes_no_id_of_everybodys(
    desk: Desk, handlers: Handlers, in_force: InForce
) -> None:
    everybodys = await handlers.publish(publish(), desk.context())
    own = publish('@id("frozen") forbid (principal, action, resource);').model_copy(update={"tenant": "acme"})
    done = await handlers.publish(own, desk.context())
    assert [event.stream for event in (await desk.store.read(StreamName("acme", POLICY, POLICY_SET)))]
    await desk.caught_up()
    assert (in_force.digest, in_force.position) == (everybodys.digest, done.position)
    with pytest.raises(Invalid, match="the id 'all' is taken"):
        await handlers.publish(publish(MORE).model_copy(update={"tenant": "acme"}), desk.context())


async def test_a_policy_may_name_the_tools_that_are_registered_and_no_others(desk: Desk, handlers: Handlers) -> None:
    rule = '@id("x") forbid (principal, action == Action::"pay", resource) when { context.amount > 5 };'
    with pytest.raises(Invalid, match="no such tool"):
        await handlers.publish(publish(PERMIT_ALL + rule), desk.context())
    cents: Any = {"type": "integer", "x-dominie": {"role": "amount"}}
    schema: Any = {"type": "object", "properties": {"cents": cents}, "required": ["cents"]}
    registered = ToolRegistered(spec=ToolSpec(name="pay", input_schema=schema), owner="w-bank")
    await desk.append(CATALOG, "pay", registered)
    await desk.caught_up()
    assert (await handlers.publish(publish(PERMIT_ALL + rule), desk.context())).changed
    others = publish(rule.replace('"x"', '"y"')).model_copy(update={"tenant": "other"})
    with pytest.raises(Invalid, match="no such tool"):
        await handlers.publish(others, desk.context())


@pytest.mark.parametrize("tenant", ["", "svc", "a.b", "Acme", "*"])
async def test_what_is_no_tenant_has_no_policies(desk: Desk, handlers: Handlers, tenant: str) -> None:
    with pytest.raises(Invalid, match="cannot be a tenant"):
        await handlers.publish(publish().model_copy(update={"tenant": tenant}), desk.context())
    assert await desk.types(POLICY) == []
