"""Given what is in force or answered, when a set is published or a person answers, then this is written."""

from dataclasses import replace
from functools import reduce
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Conflict, Forbidden, Unauthenticated
from dominie_contracts.action import Ask, Parked
from dominie_contracts.approvals import ANSWER_AUDIENCE, AnswerClaims, Asker
from dominie_contracts.guardrail import ApprovalAnswered, Approve, PoliciesPublished, PolicyFile, PublishPolicies
from dominie_contracts.people import Login
from dominie_guardrail.aggregate import Approver, State, Waiting, answer, digest_of, evolve, left, publish

NAMES = st.sampled_from(["a.cedar", "b.cedar"])
FILES = st.lists(st.builds(PolicyFile, name=NAMES, text=st.text(max_size=9)), max_size=2, unique_by=lambda f: f.name)
NOW_MS = 2_000_000


def waiting(*groups: str, quorum: int = 1) -> Waiting:
    parked = Parked(
        asks=tuple(Ask(policy=f"ask-{g}", group=g, why="much", quorum=quorum) for g in groups or ("finance",)),
        digest="d",
        command="tool.invoke",
        arguments={},
        expires_ms=NOW_MS + 10_000,
    )
    asker = Asker("u-dana", ("a-desk", "a-lead"), frozenset({"u-sam"}), frozenset({"U-dana"}))
    return Waiting(parked, asker, "acme", "tool")


def approve(decision: str = "grant", digest: str = "d") -> Approve:
    return Approve.model_validate({"action": "act-1", "digest": digest, "decision": decision, "note": "fine"})


def decide(
    command: Approve,
    *,
    state: State | None = None,
    asked: Waiting | None = None,
    by: str = "u-fay",
    groups: tuple[str, ...] = ("finance",),
    now_ms: int = NOW_MS,
    login: Login | None = None,
    **signed: Any,
) -> list[ApprovalAnswered]:
    asked = asked or waiting()
    claims = AnswerClaims(
        **{
            "sub": by,
            "tenant": "acme",
            "aud": ANSWER_AUDIENCE,
            "action": command.action,
            "digest": command.digest,
            "asks": tuple(ask.key for ask in asked.parked.asks),
            "decision": command.decision,
            "auth_time": now_ms // 1000,
            "iat": now_ms // 1000,
            "exp": now_ms // 1000 + 60,
            "jti": "j" * 8,
            **signed,
        }
    )
    approver = Approver(by, groups, f"U-{by}", claims, login)
    return answer(state or State(), command, asked, approver, now_ms=now_ms, life_ms=500)


def after(*events: ApprovalAnswered) -> State:
    return reduce(evolve, events, State())


def test_a_set_is_published_with_its_digest() -> None:
    files = (PolicyFile(name="a.cedar", text="permit"),)
    (event,) = publish(State(), PublishPolicies(files=files), by="operator")
    assert event == PoliciesPublished(digest=digest_of(files), files=files, by="operator")


@given(FILES, FILES)
def test_only_another_set_is_published_again(first: list[PolicyFile], second: list[PolicyFile]) -> None:
    (event,) = publish(State(), PublishPolicies(files=tuple(first)), by="operator")
    state = evolve(State(), event)
    again = publish(state, PublishPolicies(files=tuple(second)), by="operator")
    same = {file.name: file.text for file in first} == {file.name: file.text for file in second}
    assert (again == []) == same


@pytest.mark.parametrize("decision", ["grant", "deny"])
def test_an_answer_is_bound_to_what_was_shown_and_ends(decision: str) -> None:
    (event,) = decide(approve(decision), groups=("finance", "legal"))
    assert (event.action, event.category, event.digest, event.decision) == ("act-1", "tool", "d", decision)
    assert (event.by, event.groups, event.expires_ms, event.note) == ("u-fay", ("finance",), NOW_MS + 500, "fine")
    assert (event.asks, event.answered_ms, event.nkey) == (("ask-finance@",), NOW_MS, "U-u-fay")


@pytest.mark.parametrize("decision", ["grant", "deny"])
def test_the_same_answer_again_changes_nothing(decision: str) -> None:
    (event,) = decide(approve(decision))
    assert decide(approve(decision), state=after(event), now_ms=NOW_MS + 400) == []


@pytest.mark.parametrize(("by", "decision"), [("u-fay", "deny"), ("u-gil", "grant"), ("u-gil", "deny")])
def test_what_was_answered_stands(by: str, decision: str) -> None:
    with pytest.raises(Conflict, match="u-fay has answered already: grant"):
        decide(approve(decision), state=after(*decide(approve())), by=by)


def test_a_no_ends_it_though_others_said_yes() -> None:
    two = waiting(quorum=2)
    yes, no = decide(approve(), asked=two), decide(approve("deny"), asked=two, by="u-gil")
    state = after(*yes, *no)
    assert left(state, two.parked, now_ms=NOW_MS) == ()
    for by in ("u-fay", "u-hal"):
        with pytest.raises(Conflict, match="u-gil has answered already: deny"):
            decide(approve(), asked=two, state=state, by=by, now_ms=NOW_MS + 501)


def test_who_said_yes_may_take_it_back_while_others_are_waited_for() -> None:
    two = waiting(quorum=2)
    (no,) = decide(approve("deny"), asked=two, state=after(*decide(approve(), asked=two)))
    assert no.decision == "deny"


def test_so_many_have_to_say_yes() -> None:
    two = waiting(quorum=2)
    first = decide(approve(), asked=two)
    assert left(after(*first), two.parked, now_ms=NOW_MS) == two.parked.asks
    assert decide(approve(), asked=two, state=after(*first)) == []
    second = decide(approve(), asked=two, state=after(*first), by="u-gil")
    assert left(after(*first, *second), two.parked, now_ms=NOW_MS) == ()


def test_each_group_answers_for_itself() -> None:
    both = waiting("finance", "legal")
    (event,) = decide(approve(), asked=both)
    assert event.asks == ("ask-finance@",)
    assert [ask.group for ask in left(after(event), both.parked, now_ms=NOW_MS)] == ["legal"]
    with pytest.raises(Conflict, match="your groups have said yes; it waits for legal"):
        decide(approve(), asked=both, state=after(event), by="u-gil")
    assert decide(approve(), asked=both, state=after(event), by="u-leo", groups=("legal",))


def test_a_yes_that_lapsed_can_be_given_again() -> None:
    (event,) = decide(approve())
    (again,) = decide(approve(), state=after(event), now_ms=NOW_MS + 501)
    assert again.expires_ms == NOW_MS + 1_001


@pytest.mark.parametrize(
    ("by", "groups", "why"),
    [
        ("u-gil", ("sales",), "not in finance"),
        ("u-dana", ("finance",), "asked for it"),
        ("u-sam", ("finance",), "sponsor"),
        ("a-desk", ("finance",), "no person"),
        ("w-ledger", ("finance",), "no person"),
        ("operator", ("finance",), "no person"),
    ],
)
def test_who_may_not_answer(by: str, groups: tuple[str, ...], why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        decide(approve(), by=by, groups=groups)


@pytest.mark.parametrize(
    "signed",
    [{"decision": "deny"}, {"digest": "e"}, {"action": "act-2"}, {"auth_time": NOW_MS // 1000 - 901}, {"iat": 0}],
    ids=lambda signed: next(iter(signed)),
)
def test_what_was_not_signed_of_late_is_not_answered(signed: dict[str, Any]) -> None:
    with pytest.raises(Unauthenticated, match="sign in and answer again"):
        decide(approve(), **signed)


def test_who_signed_in_with_an_issuer_did_so_of_late() -> None:
    login = Login(issuer="corp", subject="s", token="t", auth_time=NOW_MS // 1000 - 901, until_s=NOW_MS)
    with pytest.raises(Unauthenticated, match="15 minutes before: sign in"):
        decide(approve(), login=login)
    assert decide(approve(), login=login.model_copy(update={"auth_time": NOW_MS // 1000 - 900}))


def test_what_changed_since_it_was_shown_is_not_answered() -> None:
    with pytest.raises(Conflict, match="not those you were shown"):
        decide(approve(digest="of other arguments"))
    with pytest.raises(Conflict, match="what asks is not what you were shown"):
        decide(approve(), asks=("ask-finance@of other words",))


def test_what_is_over_is_not_answered() -> None:
    with pytest.raises(Conflict, match="it is over"):
        decide(approve(), asked=replace(waiting(), over=True))


def test_what_has_expired_is_not_answered() -> None:
    assert decide(approve(), now_ms=NOW_MS + 10_000)
    with pytest.raises(Conflict, match="expired"):
        decide(approve(), now_ms=NOW_MS + 10_001)
