"""Given policies, when may this be done? The order of the rules, and what happens where they cannot be applied."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import Forbidden, Unavailable
from dominie_contracts.guardrail import POLICY, POLICY_SET, PoliciesProposed, PoliciesPublished, PolicyFile
from dominie_contracts.operations import ServiceStatus
from dominie_contracts.subjects import PLATFORM
from dominie_contracts.token import Fork
from dominie_kit.governed.decision import DecisionPoint
from dominie_kit.handler_testing import PERMIT_ALL, Desk
from dominie_kit.policy.checking import PolicyError, check_policies
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question

pytestmark = pytest.mark.anyio

ASK = '@id("big") @ask("finance") @why("more than 50") forbid (principal, action, resource) when {%s};'
OVER_50 = ASK % "context has amount && context.amount > 50"
HARD = '@id("frozen") @why("the account is frozen") forbid (principal, action, resource == Tool::"refund");'
CALL: dict[str, JsonValue] = {
    "tenant": "acme",
    "user": "u-dana",
    "effect": "external",
    "kind": "worker",
    "version": "1",
    "untrusted": [],
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def policies(*texts: str) -> Policies:
    return Policies("d", (PolicyFile(name="test.cedar", text="\n".join(texts)),))


def ask(tool: str = "refund", /, **more: JsonValue) -> Question:
    return Question("a-desk", "tool.invoke", "Tool", tool, {**CALL, **more})


async def test_of_the_proposed_sets_the_latest_are_kept() -> None:
    desk = Desk("tool")
    await desk.publish(HARD + PERMIT_ALL)
    forks = []
    for n in range(66):
        text = PERMIT_ALL + f"// {n}"
        proposed = PoliciesProposed(digest=str(n), files=(PolicyFile(name="a.cedar", text=text),), by="u-dev")
        (event,) = await desk.append(POLICY, str(n), proposed)
        desk.decisions.apply(event)
        forks.append(Fork(run="r", at=1, policies=str(n), policies_at=event.position))
    assert desk.decisions.decide("acme", ask()).decision == "deny"
    assert {desk.decisions.decide_in("acme", fork, ask()).decision for fork in forks[2:]} == {"allow"}
    with pytest.raises(Forbidden, match="too many"):
        desk.decisions.decide_in("acme", forks[1], ask())
    desk.decisions.reset()
    with pytest.raises(Unavailable):
        desk.decisions.decide_in("acme", forks[2], ask())


def test_a_permit_allows_and_is_named() -> None:
    decided = policies(PERMIT_ALL).decide(ask())
    assert (decided.decision, decided.policies) == ("allow", ("all",))
    assert decided.request == ask().request


def test_no_permit_is_deny() -> None:
    decided = policies('@id("mail") permit (principal, action, resource == Tool::"mail");').decide(ask())
    assert (decided.decision, decided.policies, decided.why) == ("deny", (), ("no policy permits it",))


def test_a_forbid_with_ask_asks_its_group() -> None:
    decided = policies(PERMIT_ALL, OVER_50).decide(ask(amount=90))
    assert decided.decision == "ask"
    assert [(each.policy, each.group, each.why) for each in decided.asks] == [("big", "finance", "more than 50")]


def test_a_hard_forbid_beats_an_ask() -> None:
    decided = policies(PERMIT_ALL, OVER_50, HARD).decide(ask(amount=90))
    assert (decided.decision, decided.why) == ("deny", ("the account is frozen",))


def test_an_ask_without_a_permit_is_deny() -> None:
    assert policies(OVER_50).decide(ask(amount=90)).decision == "deny"


def test_each_policy_asks_for_itself() -> None:
    found = policies(PERMIT_ALL, OVER_50, '@id("night") @ask("ops") forbid (principal, action, resource);')
    assert sorted(each.policy for each in found.decide(ask(amount=90)).asks) == ["big", "night"]


@pytest.mark.parametrize(
    "broken",
    [
        '@id("x") forbid (principal, action, resource) when {context.amount > 50};',
        '@id("x") forbid (principal, action, resource) when {context has amount && context.amount * 10 > 50};',
    ],
)
def test_a_policy_that_errs_is_deny(broken: str) -> None:
    amount: dict[str, JsonValue] = {"amount": 2**62} if "has" in broken else {}
    decided = policies(PERMIT_ALL, broken).decide(ask(**amount))
    assert decided.decision == "deny"
    assert decided.why[0].startswith("undecidable: ")


@pytest.mark.parametrize("more", [{"colour": "red"}, {"amount": 2**63}, {"amount": 1.5}, {"effect": None}])
def test_what_does_not_fit_the_schema_is_deny(more: dict[str, JsonValue]) -> None:
    assert policies(PERMIT_ALL).decide(ask(**more)).decision == "deny"


def test_an_action_nobody_knows_is_deny() -> None:
    assert policies(PERMIT_ALL).decide(Question("a-desk", "tool.sell", "Tool", "refund", CALL)).decision == "deny"


def test_names_are_values_never_policy_text() -> None:
    found = policies(PERMIT_ALL, HARD)
    assert found.decide(ask('refund"')).decision == "allow"
    assert found.decide(ask("refund")).decision == "deny"


def test_the_cache_tells_requests_apart() -> None:
    found = policies(PERMIT_ALL, OVER_50)
    for _ in range(2):
        assert [found.decide(ask(amount=amount)).decision for amount in (50, 51)] == ["allow", "ask"]
        assert [found.decide(ask(amount=amount)).decision for amount in (1, True, 1.0, "1")] == ["allow", *["deny"] * 3]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
LOOKS_AT_ALL = '@id("x") forbid (principal, action, resource) when {context == {a: 1}};'


@given(st.dictionaries(st.text(), json_values), st.dictionaries(st.text(), json_values))
def test_a_decision_is_known_for_equal_requests_and_no_others(one: dict[str, Any], other: dict[str, Any]) -> None:
    found = policies(LOOKS_AT_ALL)
    for context in (one, json.loads(json.dumps(one)), other):
        found.decide(Question("a", "tool.invoke", "Tool", "t", context), clock_s=0)
    assert found.hits == 1 + (json.dumps(one) == json.dumps(other))


def test_large_requests_are_decided_and_not_kept() -> None:
    found = policies(PERMIT_ALL, ASK % 'context.untrusted.contains("/amount")')
    tracemalloc.start()
    try:
        for number in range(-1, 20):
            if number == 0:  # the first one has made what every decision needs
                before, _ = tracemalloc.get_traced_memory()
            question = ask(untrusted=["/amount", f"{number:0100000}"])
            assert [found.decide(question).decision for _ in range(2)] == ["ask", "ask"]
        del question
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 1_000_000


def test_a_request_that_lacks_something_is_not_taken_for_a_whole_one() -> None:
    found = policies(PERMIT_ALL)
    assert found.decide(ask()).decision == "allow"
    assert found.decide(Question("a-desk", "tool.invoke", "Tool", "refund", {"untrusted": []})).decision == "deny"


REQUIRED = ("tenant", "user", "effect", "kind", "version", "untrusted")


@given(st.dictionaries(st.sampled_from([*REQUIRED, "amount", "recipient", "colour"]), json_values))
def test_what_no_policy_looks_at_has_to_fit_all_the_same(context: dict[str, Any]) -> None:
    known, looking = policies(PERMIT_ALL), policies(PERMIT_ALL, LOOKS_AT_ALL)
    known.decide(ask())
    decided = [each.decide(Question("a-desk", "tool.invoke", "Tool", "refund", context)) for each in (known, looking)]
    assert decided[0].decision == decided[1].decision


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("permit (principal", "a.cedar: does not parse"),
        ("permit (principal, action, resource);", "has no @id"),
        ('@id("all") permit (principal, action == Action::"tool.sell", resource);', "a.cedar: "),
        ('@id("x") forbid (principal, action, resource) when {context.amount > 50};', "a.cedar: "),
        (PERMIT_ALL * 2, "the id 'all' is taken by a.cedar"),
        ("", "start with a permit"),
    ],
)
def test_a_set_that_does_not_hold_is_refused(text: str, said: str) -> None:
    with pytest.raises(PolicyError, match=said):
        check_policies((PolicyFile(name="a.cedar", text=text),))


def test_every_problem_is_named_with_its_file() -> None:
    files = (PolicyFile(name="a.cedar", text="permit ("), PolicyFile(name="b.cedar", text="forbid ("))
    with pytest.raises(PolicyError) as raised:
        check_policies(files)
    assert [problem.split(":")[0] for problem in raised.value.problems] == ["a.cedar", "b.cedar"]


def test_a_set_that_holds_is_counted() -> None:
    assert check_policies((PolicyFile(name="a", text=PERMIT_ALL), PolicyFile(name="b", text=OVER_50))) == 2


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def heartbeat(position: int) -> ServiceStatus:
    return ServiceStatus(
        service="guardrail",
        instance="g-1",
        version="1",
        pid=1,
        started="now",
        ready=True,
        rss_mb=1,
        in_flight=0,
        handled=0,
        refused=0,
        policy_position=position,
    )


async def published(point: DecisionPoint, text: str = PERMIT_ALL, tenant: str = PLATFORM) -> int:
    files = (PolicyFile(name="a.cedar", text=text),)
    event = PoliciesPublished(digest=str(len(json.dumps(text))), files=files, by="operator")
    (recorded,) = await Desk("guardrail").append(POLICY, POLICY_SET, event, tenant=tenant)
    point.apply(recorded)
    return recorded.position


def test_without_policies_nothing_is_decided() -> None:
    with pytest.raises(Unavailable, match="no policies have been published"):
        DecisionPoint(staleness_s=15).decide("acme", ask())


async def test_policies_hold_for_a_while_without_word_and_then_no_longer() -> None:
    clock = Clock()
    point = DecisionPoint(staleness_s=15, clock=clock)
    await published(point)
    clock.now = 15
    assert point.decide("acme", ask()).decision == "allow"
    clock.now = 16
    with pytest.raises(Unavailable, match="last confirmed 16 s ago"):
        point.decide("acme", ask())


async def test_a_heartbeat_confirms_the_policies_in_force_and_no_others() -> None:
    clock = Clock()
    point = DecisionPoint(staleness_s=15, clock=clock)
    position = await published(point)
    clock.now = 10
    point.hear(heartbeat(position + 1))
    clock.now = 20
    with pytest.raises(Unavailable):
        point.decide("acme", ask())
    point.hear(heartbeat(position))
    assert point.decide("acme", ask()).decision == "allow"


async def test_new_policies_come_into_force_and_a_reset_forgets_them() -> None:
    point = DecisionPoint(staleness_s=15)
    await published(point)
    before = point.digest
    await published(point, HARD)
    assert point.digest != before
    assert point.decide("acme", ask()).decision == "deny"
    point.reset()
    with pytest.raises(Unavailable):
        point.decide("acme", ask())


def test_a_reason_quotes_no_value_of_the_request() -> None:
    overflow = '@id("x") permit (principal, action, resource) when { context.amount + 9223372036854775807 > 5 };'
    context: dict[str, JsonValue] = {"tenant": "t", "user": "u", "effect": "e", "kind": "k", "version": "1"}
    for amount in (4242, "Dana Whitlock"):
        asked = Question("a-x", "tool.invoke", "Tool", "t", {**context, "amount": amount, "untrusted": []})
        decided = Policies("d", (PolicyFile(name="a", text=overflow),)).decide(asked)
        assert (decided.decision, decided.why[0][:12]) == ("deny", "undecidable:")
        assert str(amount) not in decided.why[0]


async def test_a_tenants_own_policies_hold_beside_everybodys_and_for_nobody_else() -> None:
    point = DecisionPoint(staleness_s=15)
    await published(point, HARD, tenant="acme")
    with pytest.raises(Unavailable, match="no policies have been published"):
        point.decide("acme", ask())
    await published(point)
    assert [point.decide(tenant, ask()).decision for tenant in ("acme", "other")] == ["deny", "allow"]
    assert point.digest_for("other") == point.digest != point.digest_for("acme")
    assert point.decide("acme", ask()).policy_set == point.digest_for("acme")
    await published(point, HARD.replace("refund", "mail"), tenant="acme")
    assert point.decide("acme", ask()).decision == "allow"


async def test_what_only_another_tenant_permits_is_denied() -> None:
    point = DecisionPoint(staleness_s=15)
    await published(point, HARD)
    await published(point, PERMIT_ALL, tenant="other")
    assert [point.decide(tenant, ask("mail")).decision for tenant in ("acme", "other")] == ["deny", "allow"]


async def test_a_proposed_set_of_the_streams_name_comes_not_into_force() -> None:
    point = DecisionPoint(staleness_s=15)
    await published(point)
    event = PoliciesPublished(digest="x", files=(PolicyFile(name="a.cedar", text=HARD),), by="operator")
    (recorded,) = await Desk("guardrail").append(POLICY, "other", event, tenant=PLATFORM)
    point.apply(recorded)
    assert point.decide("acme", ask()).decision == "allow"


async def test_a_set_that_cannot_be_read_decides_nothing() -> None:
    point = DecisionPoint(staleness_s=15)
    await published(point, "permit (")
    with pytest.raises(Unavailable, match="cannot be read"):
        point.decide("acme", ask())


async def test_nobody_can_be_asked_while_guardrail_is_silent() -> None:
    clock = Clock()
    point = DecisionPoint(staleness_s=5, silence_s=2.5, clock=clock)
    position = await published(point)
    point.hear(heartbeat(position))
    clock.now = 2.5
    point.check_asking()
    clock.now = 2.6
    assert point.decide("acme", ask()).decision == "allow"
    with pytest.raises(Unavailable) as raised:
        point.check_asking()
    assert raised.value.retry_after_s == 1
    point.hear(heartbeat(position + 1))
    point.check_asking()
    clock.now = 5.1
    with pytest.raises(Unavailable, match="last confirmed"):
        point.decide("acme", ask())
