"""Given votes, when the panel rules, then this verdict is written, once."""

import hashlib
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.judge import Review, Vote
from dominie_judge.aggregate import Panel, State, decide, evolve, rule

Says = Literal["accept", "reject", "abstain"]
A, R, N = Vote(judge="m1", vote="accept"), Vote(judge="m2", vote="reject"), Vote(judge="m3", vote="abstain")
SURE = Vote(judge="rule", vote="reject")
VOTES = st.lists(
    st.builds(Vote, judge=st.sampled_from(["rule", "m1", "m2"]), vote=st.sampled_from(["accept", "reject", "abstain"])),
    max_size=6,
)
PANELS = st.builds(
    Panel,
    certain=st.just(frozenset({"rule"})),
    quorum=st.integers(1, 4),
    on_abstention=st.sampled_from(["release", "hold"]),
)


@pytest.mark.parametrize(
    ("votes", "quorum", "verdict"),
    [
        ([A, SURE, A, A], 3, "held"),
        ([A, A, R], 1, "held"),
        ([A, A, R], 2, "released"),
        ([A, R, R], 2, "held"),
        ([N, R], 2, "held"),
        ([N, A], 1, "released"),
        ([N, N], 1, "released"),
        ([], 1, "released"),
    ],
)
def test_how_votes_become_a_verdict(votes: list[Vote], quorum: int, verdict: str) -> None:
    assert rule(votes, Panel(frozenset({"rule"}), quorum)) == verdict


def test_where_nobody_can_tell_the_setting_decides() -> None:
    assert rule([N, N], Panel(on_abstention="hold")) == "held"
    assert rule([A, N], Panel(on_abstention="hold")) == "released"


def test_the_verdict_names_the_output_by_its_digest() -> None:
    (judged,) = decide(State(), Review(output="Done."), votes=[A], panel=Panel())
    assert (judged.verdict, judged.votes, judged.quorum) == ("released", (A,), 1)
    assert judged.output_digest == hashlib.sha256(b"Done.").hexdigest()


@given(VOTES, PANELS)
def test_a_duplicate_changes_nothing(votes: list[Vote], panel: Panel) -> None:
    (judged,) = decide(State(), Review(output="Done."), votes=votes, panel=panel)
    state = evolve(State(), judged)
    assert decide(state, Review(output="Done."), votes=[], panel=panel) == []
    assert evolve(state, judged) == state


@given(VOTES, PANELS)
def test_one_more_objection_never_releases(votes: list[Vote], panel: Panel) -> None:
    if rule(votes, panel) == "held":
        assert rule([*votes, R], panel) == "held"
    assert rule([*votes, SURE], panel) == "held"


@given(VOTES.filter(lambda votes: any(vote.vote != "abstain" for vote in votes)), PANELS)
def test_an_abstention_weighs_nothing(votes: list[Vote], panel: Panel) -> None:
    assert rule([*votes, N], panel) == rule(votes, panel)
