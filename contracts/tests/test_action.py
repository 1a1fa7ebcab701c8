"""What an action's events fold to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Payload
from dominie_contracts.action import (
    TRAIL,
    ActionState,
    Approved,
    Ask,
    Decided,
    Decision,
    Finished,
    Mistaken,
    Parked,
    Requested,
    Started,
    Status,
    Unknown,
    evolve,
    fold,
)
from dominie_contracts.memory import Remembered

ASK = Ask(policy="large", group="finance", why="over $50")
REQUESTED = Requested(command="tool.invoke", key="k", arguments={}, digest="d", deadline_ms=1)
PARKED = Parked(asks=(ASK,), digest="d", command="tool.invoke", arguments={}, expires_ms=1)
APPROVED = Approved(approvals=("a",), by=("u-fin",))
MISTAKEN = Mistaken(digest="e")
STARTED = Started(owner="tool-1", lease_ms=1, attempt=1)
FINISHED = Finished(outcome="ok", duration_ms=1)
UNKNOWN = Unknown(why="lost")
OTHER = Remembered(id="1", namespace="user", subject="u-dana", text="tea")


def decided(decision: Decision) -> Decided:
    return Decided(decision=decision, policies=("p",), asks=(ASK,) if decision == "ask" else (), request={})


EVENTS: tuple[Payload, ...] = (
    REQUESTED,
    *(decided(decision) for decision in ("allow", "ask", "deny")),
    PARKED,
    MISTAKEN,
    APPROVED,
    STARTED,
    FINISHED,
    UNKNOWN,
    OTHER,
)


@pytest.mark.parametrize(
    ("events", "status"),
    [
        ([], "new"),
        ([REQUESTED], "requested"),
        ([REQUESTED, decided("allow")], "ready"),
        ([REQUESTED, decided("deny")], "denied"),
        ([REQUESTED, decided("deny"), FINISHED], "finished"),
        ([REQUESTED, decided("ask"), PARKED], "parked"),
        ([REQUESTED, decided("ask"), PARKED, MISTAKEN], "parked"),
        ([REQUESTED, decided("ask"), PARKED, APPROVED], "ready"),
        ([REQUESTED, decided("ask"), PARKED, APPROVED, decided("allow"), STARTED], "started"),
        ([REQUESTED, decided("allow"), STARTED, FINISHED], "finished"),
        ([REQUESTED, decided("allow"), STARTED, UNKNOWN], "unknown"),
        ([REQUESTED, decided("allow"), OTHER, FINISHED], "finished"),
    ],
)
def test_where_an_action_stands(events: list[Payload], status: Status) -> None:
    state = fold(events)
    assert (state.status, state.version) == (status, len(events))


def test_the_last_of_each_is_kept() -> None:
    later = STARTED.model_copy(update={"attempt": 2})
    state = fold([REQUESTED, decided("allow"), STARTED, later, FINISHED])
    assert (state.requested, state.started, state.finished, state.parked) == (REQUESTED, later, FINISHED, None)


def test_what_people_were_asked_is_kept_each_time() -> None:
    again = PARKED.model_copy(update={"digest": "e"})
    state = fold([REQUESTED, decided("ask"), PARKED, MISTAKEN, decided("ask"), again])
    assert (state.asked, state.parked, state.mistaken) == (("d", "e"), again, True)


@given(st.lists(st.sampled_from(EVENTS)), st.lists(st.sampled_from(EVENTS)))
def test_folding_goes_on_where_it_stopped(before: list[Payload], after: list[Payload]) -> None:
    state = fold(before)
    for event in after:
        state = evolve(state, event)
    assert state == fold([*before, *after])


def test_events_of_other_kinds_count_in_the_version_alone() -> None:
    assert evolve(ActionState(), OTHER) == ActionState(version=1)


def test_the_trail_is_whole() -> None:
    assert {type(event) for event in EVENTS} - {Remembered} == set(TRAIL)
