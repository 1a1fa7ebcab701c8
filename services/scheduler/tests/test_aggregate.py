"""Given who holds a slot, when a call asks or ends, then this is written; and who goes next."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.scheduler import AskPermit, PermitGranted, PermitReleased, ReleasePermit
from dominie_scheduler.aggregate import State, Waiting, decide, evolve, free, next_waiting

PRIORITIES = st.sampled_from(["interactive", "standard", "background"])
STEPS = st.lists(
    st.tuples(st.sampled_from(["ask", "release"]), st.sampled_from("abcd"), st.integers(0, 30)), max_size=40
)
QUEUE = st.lists(st.tuples(PRIORITIES, st.integers(0, 9)), max_size=8)


def ask(permit: str = "p", **more: Any) -> AskPermit:
    known = {"tenant": "acme", "agent": "a-desk", "run": "r-1", "model": "auto", "priority": "standard"}
    return AskPermit.model_validate({**known, "permit": permit, "deadline_ms": 1_000, "lease_ms": 20, **more})


def release(permit: str = "p") -> ReleasePermit:
    return ReleasePermit(permit=permit, tenant="acme", input_tokens=3, output_tokens=4, cost_usd=0.5)


def given_held(*permits: str, now_ms: int = 0, **more: Any) -> State:
    state = State()
    for permit in permits:
        for event in decide(state, ask(permit, **more), now_ms=now_ms, slots=9, waited_ms=0):
            state = evolve(state, event)
    return state


def waiting(number: int, priority: str = "standard", until_ms: int = 100, model: str = "auto") -> Waiting:
    return Waiting(ask(f"p{number}", priority=priority, model=model), 0, until_ms, number)


def test_a_free_slot_is_granted_for_the_lease() -> None:
    (event,) = decide(State(), ask(), now_ms=100, slots=1, waited_ms=7)
    assert isinstance(event, PermitGranted)
    assert (event.permit, event.model, event.lease_until_ms, event.waited_ms) == ("p", "auto", 120, 7)


def test_where_none_is_free_nothing_is_written() -> None:
    assert decide(given_held("p"), ask("q"), now_ms=1, slots=1, waited_ms=0) == []


def test_each_model_has_slots_of_its_own() -> None:
    assert decide(given_held("p"), ask("q", model="other"), now_ms=1, slots=1, waited_ms=0)


def test_who_holds_a_slot_is_granted_no_second_one() -> None:
    assert decide(given_held("p"), ask("p"), now_ms=1, slots=9, waited_ms=0) == []


@pytest.mark.parametrize("permit", ["p", "q"])
def test_after_its_lease_a_slot_is_free_to_anybody(permit: str) -> None:
    state = given_held("p")
    assert free(state, "auto", 1, now_ms=20) == 1
    assert decide(state, ask(permit), now_ms=20, slots=1, waited_ms=0)


def test_a_release_gives_the_slot_back_with_what_it_took() -> None:
    state = given_held("p")
    (event,) = decide(state, release(), now_ms=1, slots=0, waited_ms=0)
    assert event == PermitReleased(permit="p", model="auto", input_tokens=3, output_tokens=4, cost_usd=0.5)
    assert evolve(state, event) == State()


def test_a_duplicate_release_changes_nothing() -> None:
    assert decide(State(), release(), now_ms=1, slots=0, waited_ms=0) == []


def test_priority_goes_before_deadline_and_deadline_before_arrival() -> None:
    queue = [
        waiting(0, "background", 1),
        waiting(1, "standard", 50),
        waiting(2, "standard", 40),
        waiting(3, "standard", 40),
        waiting(4, "interactive", 99),
    ]
    order = []
    while (found := next_waiting(queue, "auto", now_ms=0)) is not None:
        queue.remove(found)
        order.append(found.number)
    assert order == [4, 2, 3, 1, 0]


def test_whose_time_is_over_and_who_wants_another_model_is_passed_by() -> None:
    queue = [waiting(0, "interactive", until_ms=10), waiting(1, "interactive", model="other"), waiting(2)]
    found = next_waiting(queue, "auto", now_ms=10)
    assert found is not None and found.number == 2
    assert next_waiting([], "auto", now_ms=0) is None


@given(QUEUE, st.integers(0, 9))
def test_nobody_goes_before_a_higher_priority(queue: list[tuple[str, int]], now_ms: int) -> None:
    order = ["interactive", "standard", "background"]
    entries = [waiting(number, priority, until) for number, (priority, until) in enumerate(queue)]
    found = next_waiting(entries, "auto", now_ms=now_ms)
    able = [entry for entry in entries if entry.until_ms > now_ms]
    assert (found is None) == (not able)
    if found is not None:
        assert order.index(found.ask.priority) == min(order.index(entry.ask.priority) for entry in able)


@given(STEPS, st.integers(1, 3))
def test_there_are_never_more_live_holders_than_slots(steps: list[tuple[str, str, int]], slots: int) -> None:
    state, now_ms = State(), 0
    for kind, permit, passed_ms in steps:
        now_ms += passed_ms
        command = ask(permit) if kind == "ask" else release(permit)
        for event in decide(state, command, now_ms=now_ms, slots=slots, waited_ms=0):
            state = evolve(state, event)
        assert decide(state, command, now_ms=now_ms, slots=slots, waited_ms=0) == []
        assert sum(held.lease_until_ms > now_ms for _, held in state.holders) <= slots
