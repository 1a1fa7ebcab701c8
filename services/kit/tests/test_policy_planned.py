"""Calls outside of their run's plan, and runs that ask for more: what happens where policies say it, and where not."""

import pytest
from pydantic import JsonValue

from dominie_contracts.action import Decided
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.plans import Lack
from dominie_contracts.token import Grants
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_kit.policy.checking import PolicyError, check_policies
from dominie_kit.policy.planned import told
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.widening import widening

CALL: dict[str, JsonValue] = {
    "tenant": "acme",
    "user": "u-dana",
    "effect": "external",
    "kind": "local",
    "version": "1",
    "untrusted": [],
}
ASKS = """@id("plan") @ask("finance") forbid (principal, action == Action::"tool.begin", resource)
when { context has plan && context.plan == "outside" };"""


def files(text: str) -> tuple[PolicyFile, ...]:
    return (PolicyFile(name="p.cedar", text=PERMIT_ALL + text),)


def called(policies: Policies, lack: Lack | None, *, planned: bool = True) -> Decided:
    context = {**CALL, **(told(lack) if planned else {})}
    return policies.decide(Question("a-desk", "tool.begin", "Tool", "refund", context))


def asked(policies: Policies, *tools: str, usd: float | None = None) -> Decided:
    return policies.decide(widening("a-desk", "r-1", Grants(tools=tools), usd, tenant="acme", user="u-dana"))


def test_outside_is_denied_where_no_policy_says_otherwise() -> None:
    policies = Policies("d", files(""))
    for _ in range(2):  # the second is remembered
        assert called(policies, "times").held == "deny"
        assert called(policies, None).held == called(policies, None, planned=False).held == "allow"
    assert "as often as they may" in called(policies, "times").why[0]


def test_what_a_forbid_says_of_plans_stands() -> None:
    policies = Policies("d", files(ASKS))
    assert called(policies, "tool").held == "ask"
    assert called(policies, None).held == called(policies, None, planned=False).held == "allow"


@pytest.mark.parametrize(
    "text",
    [
        '@id("in") permit (principal, action, resource) when { context has plan && context.plan == "inside" };',
        '@id("x") forbid (principal, action, resource) when { {a: context} == {a: {}} };',
        '@id("other") @ask("finance") forbid (principal, action, resource == Tool::"mail") when { context has plan };',
    ],
    ids=["a permit", "one that looks at everything", "of another tool"],
)
def test_other_policies_do_not_lift_it(text: str) -> None:
    assert called(Policies("d", files(text)), "argument").held == "deny"


@pytest.mark.parametrize("attribute", ["plan", "plan_lacks"])
def test_a_word_that_a_plan_never_has_is_refused(attribute: str) -> None:
    slip = f'context has {attribute} && context.{attribute} == "out"'
    text = f'@id("p") forbid (principal, action, resource) when {{ {slip} }};'
    with pytest.raises(PolicyError, match="knows no 'out'"):
        check_policies(files(text))


def test_a_widening_asks_the_user_where_no_policy_asks_others() -> None:
    policies = Policies("d", files(""))
    (ask,) = asked(policies, "mail").asks
    assert (ask.group, ask.quorum, ask.key) == ("user", 1, "widening@1")


def test_a_policy_names_others_or_denies() -> None:
    text = """@id("m") @ask("finance") forbid (principal, action == Action::"run.widen", resource)
    when { context.tools.contains("mail") };
    @id("u") forbid (principal, action == Action::"run.widen", resource)
    when { context has amount && context.amount > 900 };"""
    check_policies(files(text))
    policies = Policies("d", files(text))
    assert [ask.group for ask in asked(policies, "mail").asks] == ["finance"]
    assert [ask.group for ask in asked(policies, "read", usd=9.0).asks] == ["user"]
    assert [asked(policies, usd=usd).held for usd in (9.001, 1e300)] == ["deny", "deny"]


def test_nobody_is_asked_for_what_no_policy_permits() -> None:
    only = PolicyFile(name="p.cedar", text='@id("t") permit (principal, action == Action::"tool.begin", resource);')
    assert asked(Policies("d", (only,)), "mail").held == "deny"
