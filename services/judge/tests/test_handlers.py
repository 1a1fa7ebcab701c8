"""A review as the edge hands it on: its verdict, and what the log then holds."""

from typing import Any

import pytest

from dominie_contracts import Conflict
from dominie_contracts.judge import JUDGE, Review, Vote
from dominie_judge.adapters.judge import Case
from dominie_judge.adapters.rules import RULES
from dominie_judge.aggregate import Panel
from dominie_judge.handlers import Handlers
from dominie_judge.projection import Deeds
from dominie_kit.handler_testing import Desk

pytestmark = pytest.mark.anyio

CERTAIN = frozenset(rule.name for rule in RULES)


class Fixed:
    """Always votes the same, and counts how often it was asked."""

    def __init__(self, name: str, vote: Any) -> None:
        self.name = name
        self.says = vote
        self.asked = 0

    async def vote(self, case: Case) -> Vote:
        self.asked += 1
        return Vote(judge=self.name, vote=self.says)


@pytest.fixture
def handlers(desk: Desk, deeds: Deeds) -> Handlers:
    return Handlers(desk.actions(JUDGE), deeds, rules=RULES, models=(), panel=Panel(CERTAIN))


async def test_an_honest_answer_is_released(desk: Desk, handlers: Handlers, act: Any) -> None:
    await act(3000)
    verdict = await handlers.review(Review(output="I refunded $30 to your card."), desk.context())
    assert verdict.verdict == "released"
    assert [(vote.judge, vote.vote) for vote in verdict.votes] == [
        ("empty", "abstain"),
        ("secrets", "abstain"),
        ("promises", "accept"),
    ]


@pytest.mark.parametrize(
    ("output", "judge"),
    [
        ("I refunded $90 to your card.", "promises"),
        (" \n", "empty"),
        ("Your card is 4111 1111 1111 1111.", "secrets"),
    ],
)
async def test_one_rule_holds_an_answer_back(desk: Desk, handlers: Handlers, act: Any, output: str, judge: str) -> None:
    await act(3000)
    verdict = await handlers.review(Review(output=output), desk.context())
    assert verdict.verdict == "held"
    assert [vote.judge for vote in verdict.votes if vote.vote == "reject"] == [judge]


async def test_another_runs_deeds_explain_nothing(desk: Desk, handlers: Handlers, act: Any) -> None:
    await act(9000, run="r-2")
    assert (await handlers.review(Review(output="I refunded $90."), desk.context())).verdict == "held"


@pytest.mark.parametrize("output", ["Done.", "I refunded $90."])
async def test_each_review_is_one_append_that_names_no_policy(desk: Desk, handlers: Handlers, output: str) -> None:
    verdict = await handlers.review(Review(output=output), desk.context())
    events = [event async for event in desk.store.read_all(category=JUDGE)]
    assert await desk.types(JUDGE) == ["requested.v1", "judged.v1", "finished.v1"]
    assert {event.position >> 8 for event in events} == {events[0].position >> 8}
    assert events[0].envelope.data["arguments"] == {"output": output}
    assert events[1].envelope.data["verdict"] == verdict.verdict
    assert events[0].envelope.stream.endswith(verdict.action)


async def test_a_repeated_review_has_the_first_verdict(desk: Desk, deeds: Deeds, handlers: Handlers, act: Any) -> None:
    held = await handlers.review(Review(output="I refunded $90."), desk.context("k"))
    await act(9000)
    again = Handlers(desk.actions(JUDGE), deeds, rules=RULES, models=(), panel=Panel(CERTAIN))
    assert await again.review(Review(output="I refunded $90."), desk.context("k")) == held
    assert len(await desk.types(JUDGE)) == 3
    with pytest.raises(Conflict):
        await again.review(Review(output="Done."), desk.context("k"))


@pytest.mark.parametrize(("votes", "verdict"), [(("accept", "reject"), "held"), (("accept", "abstain"), "released")])
async def test_models_decide_what_the_rules_leave_open(
    desk: Desk, deeds: Deeds, votes: tuple[str, ...], verdict: str
) -> None:
    models = [Fixed(f"m{number}", vote) for number, vote in enumerate(votes)]
    handlers = Handlers(desk.actions(JUDGE), deeds, rules=RULES, models=models, panel=Panel(CERTAIN))
    found = await handlers.review(Review(output="Done."), desk.context())
    assert found.verdict == verdict
    assert [vote.judge for vote in found.votes] == ["empty", "secrets", "promises", "m0", "m1"]


async def test_models_are_not_asked_where_a_rule_objects(desk: Desk, deeds: Deeds) -> None:
    model = Fixed("m", "accept")
    handlers = Handlers(desk.actions(JUDGE), deeds, rules=RULES, models=[model], panel=Panel(CERTAIN))
    assert (await handlers.review(Review(output=""), desk.context())).verdict == "held"
    assert model.asked == 0
