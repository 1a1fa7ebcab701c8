"""When a person's yes counts."""

from typing import Any

import pytest

from dominie_contracts.action import Ask, Parked
from dominie_contracts.approvals import binding_digest, refuse_answer, refuse_approver
from dominie_contracts.guardrail import ApprovalAnswered

BOUND: dict[str, Any] = {
    "stream": "acme.tool.x",
    "tenant": "acme",
    "user": "u-dana",
    "chain": "a-desk",
    "command": "tool.invoke",
    "resource": "refund",
    "version": "1",
    "arguments": {"order": "A1", "amount_cents": 9000},
    "labels": {"order": "record"},
    "asks": ["large"],
}
PARKED = Parked(
    asks=(Ask(policy="large", group="finance", why=""), Ask(policy="new", group="risk", why="")),
    digest="d",
    command="tool.invoke",
    arguments={},
    expires_ms=2_000,
)
WHO: dict[str, Any] = {
    "by": "u-fin",
    "groups": ("finance", "risk"),
    "user": "u-dana",
    "chain": "a-desk a-boss",
    "sponsor": "u-sam",
}
ANSWER = ApprovalAnswered(
    action="x",
    category="tool",
    digest="d",
    decision="grant",
    by="u-fin",
    groups=("finance", "risk"),
    expires_ms=3_000,
    note="",
)


@pytest.mark.parametrize(
    "change",
    [
        {"stream": "acme.tool.y"},
        {"tenant": "other"},
        {"user": "u-erin"},
        {"chain": "a-desk a-boss"},
        {"command": "tool.begin"},
        {"resource": None},
        {"version": "2"},
        {"arguments": {"order": "A1", "amount_cents": 9001}},
        {"labels": {}},
        {"asks": ["large", "other"]},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_yes_is_bound_to_everything(change: dict[str, Any]) -> None:
    assert binding_digest(**BOUND | change) != binding_digest(**BOUND)


def test_the_order_of_the_asks_does_not_matter() -> None:
    assert binding_digest(**BOUND | {"asks": ["a", "b"]}) == binding_digest(**BOUND | {"asks": ["b", "a"]})


def test_a_person_of_every_group_may_answer() -> None:
    assert refuse_approver(PARKED, **WHO) is None
    assert refuse_approver(PARKED, **WHO | {"sponsor": None}) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"by": "a-fin"}, "is no person"),
        ({"by": "svc-tool"}, "is no person"),
        ({"by": "u-dana"}, "asked for it"),
        ({"by": "u-sam"}, "is the sponsor"),
        ({"by": "u-boss", "chain": "a-desk u-boss"}, "asked for it"),
        ({"groups": ("finance",)}, "is not in risk"),
        ({"groups": ()}, "is not in finance, risk"),
    ],
)
def test_who_may_not_answer(change: dict[str, Any], why: str) -> None:
    assert why in (refuse_approver(PARKED, **WHO | change) or "")


def test_a_yes_in_time_lifts_the_asks() -> None:
    assert refuse_answer(PARKED, ANSWER, now_ms=2_000) is None


@pytest.mark.parametrize(
    ("change", "now_ms", "why"),
    [
        ({"decision": "deny", "note": "too much"}, 0, "u-fin said no: too much"),
        ({"digest": "e"}, 0, "for something else"),
        ({}, 2_001, "expired"),
        ({"expires_ms": 1_000}, 1_001, "expired"),
    ],
)
def test_which_answer_does_not(change: dict[str, Any], now_ms: int, why: str) -> None:
    assert why in (refuse_answer(PARKED, ANSWER.model_copy(update=change), now_ms=now_ms) or "")
