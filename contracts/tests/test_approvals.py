"""When people's yes counts."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.action import Ask, Parked, whom
from dominie_contracts.approvals import (
    ANSWER_AUDIENCE,
    AnswerClaims,
    Asker,
    binding_digest,
    holds,
    refuse_claims,
    refuse_person,
    same_asks,
    unanswered,
)
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
}
ASKER = Asker("u-dana", ("a-desk", "a-boss"), frozenset({"u-sam"}), frozenset({"U-dana", "U-desk"}))
LARGE, NEW = Ask(policy="large", group="finance", why="", digest="1"), Ask(policy="new", group="risk", why="")
AT_MS = 1_000_000_000
ANSWER = ApprovalAnswered(
    action="x",
    category="tool",
    digest="d",
    decision="grant",
    by="u-fin",
    groups=("finance",),
    expires_ms=AT_MS + 1_000,
    note="",
    asks=(LARGE.key,),
    answered_ms=AT_MS,
    nkey="U-fin",
)
AT_S = AT_MS // 1000
CLAIMS = AnswerClaims(
    sub="u-fin",
    tenant="acme",
    aud=ANSWER_AUDIENCE,
    action="x",
    digest="d",
    asks=(LARGE.key, NEW.key),
    decision="grant",
    auth_time=AT_S - 900,
    iat=AT_S,
    exp=AT_S + 60,
    jti="j" * 8,
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
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_yes_is_bound_to_everything(change: dict[str, Any]) -> None:
    assert binding_digest(**BOUND | change) != binding_digest(**BOUND)


def test_a_number_is_bound_to_its_last_digit() -> None:
    first, second = ({"arguments": {"amount": amount}} for amount in (0.3, 0.1 + 0.2))
    assert binding_digest(**BOUND | first) != binding_digest(**BOUND | second)


@pytest.mark.parametrize(
    ("by", "nkey", "why"),
    [
        ("a-fin", "U", "is no person"),
        ("svc-tool", "U", "is no person"),
        ("u-dana", "U", "asked for it"),
        ("u-sam", "U", "is the sponsor"),
        ("u-fin", "U-dana", "has the key of somebody who asked"),
        ("u-fin", "U-desk", "has the key of somebody who asked"),
    ],
)
def test_who_may_not_answer(by: str, nkey: str, why: str) -> None:
    assert why in (refuse_person(ASKER, by, nkey) or "")
    assert refuse_person(ASKER, "u-fin", "U-fin") is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"aud": "dominie"}, "another answer"),
        ({"sub": "u-gil"}, "another answer"),
        ({"tenant": "other"}, "another answer"),
        ({"action": "y"}, "another answer"),
        ({"digest": "e"}, "another answer"),
        ({"decision": "deny"}, "another answer"),
        ({"asks": (NEW.key,)}, "other policies"),
        ({"asks": ("large@2",)}, "other policies"),
        ({"iat": AT_S + 6}, "not signed when"),
        ({"iat": AT_S - 66}, "not signed when"),
        ({"exp": AT_S - 6}, "not signed when"),
        ({"auth_time": AT_S - 901}, "more than 15 minutes"),
        ({"auth_time": AT_S + 6}, "more than 15 minutes"),
    ],
)
def test_which_proof_is_none(change: dict[str, Any], why: str) -> None:
    assert refuse_claims(CLAIMS, ANSWER, tenant="acme") is None
    assert why in (refuse_claims(CLAIMS.model_copy(update=change), ANSWER, tenant="acme") or "")


@pytest.mark.parametrize(
    ("change", "now_ms", "yes"),
    [
        ({}, AT_MS + 1_000, True),
        ({}, AT_MS + 1_001, False),
        ({"decision": "deny"}, AT_MS, False),
        ({"digest": "e"}, AT_MS, False),
    ],
)
def test_which_answer_holds(change: dict[str, Any], now_ms: int, yes: bool) -> None:
    assert holds(ANSWER.model_copy(update=change), "d", now_ms=now_ms) is yes


def said(by: str, *asks: Ask, groups: tuple[str, ...] = ("finance", "risk"), nkey: str | None = None) -> Any:
    keys = tuple(ask.key for ask in asks)
    return ANSWER.model_copy(update={"by": by, "asks": keys, "groups": groups, "nkey": nkey or f"U-{by}"})


def test_each_ask_is_answered_separately() -> None:
    assert unanswered((LARGE, NEW), []) == (LARGE, NEW)
    assert unanswered((LARGE, NEW), [said("u-a", LARGE)]) == (NEW,)
    assert unanswered((LARGE, NEW), [said("u-a", LARGE, NEW)]) == ()
    assert unanswered((LARGE, NEW), [said("u-a", LARGE, NEW, groups=("risk",))]) == (LARGE,)


def test_a_yes_to_other_words_is_none() -> None:
    changed = LARGE.model_copy(update={"digest": "2"})
    assert unanswered((changed,), [said("u-a", LARGE)]) == (changed,)


PEOPLE = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), max_size=6)


@given(PEOPLE, st.integers(1, 4), st.booleans())
def test_never_fewer_people_than_were_asked_for(people: list[tuple[str, str]], quorum: int, four_eyes: bool) -> None:
    ask = LARGE.model_copy(update={"quorum": quorum, "four_eyes": four_eyes})
    yeses = [said(f"u-{name}", ask, nkey=key) for name, key in people]
    wanted = max(quorum, 2 if four_eyes else 1)
    enough = len({name for name, _ in people}) >= wanted and len({key for _, key in people}) >= wanted
    assert (unanswered((ask,), yeses) == ()) is enough


def test_what_waits_already_is_not_asked_again() -> None:
    parked = Parked(asks=(LARGE, NEW), digest="d", command="c", arguments={}, expires_ms=1)
    assert same_asks(parked, "d", (NEW,)) and same_asks(parked, "d", (LARGE, NEW))
    assert not same_asks(parked, "e", (NEW,))
    assert not same_asks(parked, "d", (NEW.model_copy(update={"digest": "2"}),))


def test_whom_it_waits_for_in_words() -> None:
    two = LARGE.model_copy(update={"quorum": 2})
    assert whom([NEW, LARGE]) == ["finance", "risk"]
    assert whom([LARGE, two]) == ["2 of finance"]
    assert whom([LARGE.model_copy(update={"four_eyes": True})]) == ["finance", "two people in all"]
    assert whom([two.model_copy(update={"four_eyes": True})]) == ["2 of finance"]
