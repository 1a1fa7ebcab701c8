"""Given what is in force or answered, when a set is published or a person answers, then this is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Conflict, Forbidden
from dominie_contracts.action import Ask, Parked
from dominie_contracts.guardrail import ApprovalAnswered, Approve, PoliciesPublished, PolicyFile, PublishPolicies
from dominie_guardrail.aggregate import Approver, State, Waiting, answer, digest_of, evolve, publish

FAY = Approver("u-fay", ("finance",))
NAMES = st.sampled_from(["a.cedar", "b.cedar"])
FILES = st.lists(st.builds(PolicyFile, name=NAMES, text=st.text(max_size=9)), max_size=2, unique_by=lambda f: f.name)


def waiting(*groups: str, sponsor: str | None = None) -> Waiting:
    parked = Parked(
        asks=tuple(Ask(policy=f"ask-{group}", group=group, why="much") for group in groups or ("finance",)),
        digest="d",
        command="tool.invoke",
        arguments={},
        expires_ms=10_000,
    )
    return Waiting(parked, "u-dana", "a-desk a-lead", sponsor, "tool")


def approve(decision: str = "grant", digest: str = "d") -> Approve:
    return Approve.model_validate({"action": "act-1", "digest": digest, "decision": decision, "note": "fine"})


def decide(
    command: Approve, *, state: State | None = None, asked: Waiting | None = None, by: Approver = FAY, now_ms: int = 1
) -> list[ApprovalAnswered]:
    return answer(state or State(), command, asked or waiting(), by, now_ms=now_ms, life_ms=500)


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
    (event,) = decide(approve(decision), now_ms=1_000)
    assert (event.action, event.category, event.digest, event.decision) == ("act-1", "tool", "d", decision)
    assert (event.by, event.groups, event.expires_ms, event.note) == ("u-fay", ("finance",), 1_500, "fine")


@pytest.mark.parametrize("decision", ["grant", "deny"])
def test_the_same_answer_again_changes_nothing(decision: str) -> None:
    (event,) = decide(approve(decision))
    state = evolve(State(), event)
    assert decide(approve(decision), state=state, now_ms=99_999) == []


@pytest.mark.parametrize(("by", "decision"), [("u-fay", "deny"), ("u-gil", "grant"), ("u-gil", "deny")])
def test_the_first_answer_stands(by: str, decision: str) -> None:
    state = evolve(State(), decide(approve())[0])
    with pytest.raises(Conflict, match="u-fay has answered already: grant"):
        decide(approve(decision), state=state, by=Approver(by, ("finance",)))


@pytest.mark.parametrize(
    ("by", "why"),
    [
        (Approver("u-gil", ("sales",)), "not in finance"),
        (Approver("u-dana", ("finance",)), "asked for it"),
        (Approver("u-sam", ("finance",)), "sponsor"),
        (Approver("a-desk", ("finance",)), "no person"),
        (Approver("w-ledger", ("finance",)), "no person"),
        (Approver("operator", ("finance",)), "no person"),
    ],
)
def test_who_may_not_answer(by: Approver, why: str) -> None:
    with pytest.raises(Forbidden, match=why):
        decide(approve(), asked=waiting(sponsor="u-sam"), by=by)


def test_an_approver_is_in_every_group_that_was_asked() -> None:
    with pytest.raises(Forbidden, match="not in legal"):
        decide(approve(), asked=waiting("finance", "legal"))
    both = Approver("u-fay", ("legal", "finance"))
    assert decide(approve(), asked=waiting("finance", "legal"), by=both)


def test_what_changed_since_it_was_shown_is_not_answered() -> None:
    with pytest.raises(Conflict, match="not those you were shown"):
        decide(approve(digest="of other arguments"))


def test_what_has_expired_is_not_answered() -> None:
    assert decide(approve(), now_ms=10_000)
    with pytest.raises(Conflict, match="expired"):
        decide(approve(), now_ms=10_001)
