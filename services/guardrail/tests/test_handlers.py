"""Commands as the edge hands them on: what they answer, and what the log then holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dominie_contracts import Conflict, Forbidden, Grants, Invalid, StreamName
from dominie_contracts.guardrail import (
    APPROVAL,
    POLICY,
    Approve,
    ListApprovals,
    PolicyFile,
    ProposePolicies,
    PublishPolicies,
)
from dominie_contracts.identity import PRINCIPAL, Registered
from dominie_contracts.memory import MEMORY
from dominie_contracts.model import MODEL
from dominie_contracts.tool import TOOL
from dominie_guardrail.handlers import Handlers, read_policies
from dominie_guardrail.projection import InForce
from dominie_guardrail.settings import DEFAULT_POLICIES
from dominie_kit.context import Context
from dominie_kit.decision import check_policies
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.standing import Standing

pytestmark = pytest.mark.anyio

MORE = PERMIT_ALL + '@id("frozen") forbid (principal, action, resource);'


def publish(text: str = PERMIT_ALL) -> PublishPolicies:
    return PublishPolicies(files=(PolicyFile(name="a.cedar", text=text),))


def person(desk: Desk, name: str = "u-fay", *groups: str, tenant: str = "acme") -> Context:
    return replace(desk.context(agent=name, tenant=tenant), claims=None, groups=groups or ("finance",))


def yes(action: str = "act-1", cents: int = 9000, decision: str = "grant") -> Approve:
    return Approve.model_validate({"action": action, "digest": f"digest of {cents}", "decision": decision})


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
    assert (in_force.digest, in_force.position) == ((await handlers.publish(publish(), desk.context())).digest, 3 << 8)


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
        with pytest.raises(Invalid, match="holds no"):
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


async def test_a_tenant_sees_its_own_alone(desk: Desk, handlers: Handlers, park: Any) -> None:
    await park("act-1")
    await park("act-2", tenant="other")
    assert await statuses(handlers, person(desk)) == {"act-1": "pending"}
    assert await statuses(handlers, person(desk, tenant="other")) == {"act-2": "pending"}
    with pytest.raises(Invalid, match="nothing waits"):
        await handlers.approve(yes("act-2"), person(desk))


async def test_a_yes_is_recorded_once_and_no_longer_pending(desk: Desk, handlers: Handlers, park: Any) -> None:
    await park()
    for _ in range(2):
        await handlers.approve(yes(), person(desk))
    assert await desk.types(APPROVAL) == ["answered.v1"]
    assert await statuses(handlers, person(desk), "pending") == {}
    assert await statuses(handlers, person(desk)) == {"act-1": "granted"}


async def test_the_answer_says_who_and_for_how_long(desk: Desk, handlers: Handlers, park: Any, clock: Any) -> None:
    await park()
    await handlers.approve(yes(decision="deny"), person(desk, "u-fay", "finance", "legal"))
    (event,) = [event async for event in desk.store.read_all(category=APPROVAL)]
    data = event.envelope.data
    assert (data["by"], data["groups"], data["decision"]) == ("u-fay", ["finance", "legal"], "deny")
    assert data["expires_ms"] == clock.now_ms + 60_000
    assert event.envelope.stream.endswith("approval.act-1")


async def test_the_answer_is_on_behalf_of_who_waits_under_whose_key_it_is(
    desk: Desk, handlers: Handlers, park: Any
) -> None:
    await park(user="u-dana")
    await handlers.approve(yes(), person(desk))
    (event,) = [event async for event in desk.store.read_all(category=APPROVAL)]
    assert event.envelope.on_behalf_of == "u-dana"


async def test_the_first_answer_stands(desk: Desk, handlers: Handlers, park: Any) -> None:
    await park()
    await handlers.approve(yes(), person(desk))
    with pytest.raises(Conflict, match="answered already"):
        await handlers.approve(yes(decision="deny"), person(desk))
    with pytest.raises(Conflict, match="answered already"):
        await handlers.approve(yes(), person(desk, "u-gil"))
    assert await desk.types(APPROVAL) == ["answered.v1"]


async def test_other_arguments_than_were_shown_are_a_conflict(desk: Desk, handlers: Handlers, park: Any) -> None:
    await park(cents=9000)
    with pytest.raises(Conflict, match="not those you were shown"):
        await handlers.approve(yes(cents=10), person(desk))


async def test_who_is_not_asked_may_not_answer(desk: Desk, handlers: Handlers, park: Any, standing: Standing) -> None:
    await park()
    registered = Registered(
        tenant="acme", principal="svc-test", nkey="U", sponsor="u-sam", grants=Grants(), users=(), groups=(), by="o"
    )
    for event in await desk.append(PRINCIPAL, "svc-test", registered):
        standing.apply(event)
    for context in (person(desk, "u-gil", "sales"), person(desk, "a-desk"), person(desk, "u-sam")):
        with pytest.raises(Forbidden, match="you may not answer this"):
            await handlers.approve(yes(), context)
    assert await desk.types(APPROVAL) == []


async def test_after_its_time_nobody_answers(desk: Desk, handlers: Handlers, park: Any, clock: Any) -> None:
    await park()
    clock.now_ms = 10_001
    with pytest.raises(Conflict, match="expired"):
        await handlers.approve(yes(), person(desk))
    assert await statuses(handlers, person(desk)) == {"act-1": "expired"}
