"""What the record of a run holds next: what caused what is kept in order, what went on beside it is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Diverged, Payload
from dominie_contracts.action import Finished, Requested
from dominie_contracts.audit import AskRecord, Entry
from dominie_contracts.digests import digest_json
from dominie_contracts.forks import Fork, record, resume
from dominie_contracts.registry import event_type

EVERYTHING = 10**6


def ask(tool: str, *, by: str | None = None) -> AskRecord:
    """An action of the fork asks; `by` is its stream's id."""
    digest = digest_json({"order": "A1"})
    return AskRecord(
        category="tool", action=by or f"new-{tool}", command="tool.invoke", resource=tool, arguments=digest, call=tool
    )


def entry(position: int, stream: str, payload: Payload, run: str = "r1") -> Entry:
    return Entry(
        position=position,
        stream=f"acme.tool.{stream}",
        version=1,
        type=event_type("tool", payload),
        time="2026-11-21T03:06:53.685Z",
        agent="a-desk",
        user="u-dana",
        run=run,
        summary="",
        data=payload.model_dump(mode="json"),
    )


def requested(position: int, tool: str, *, key: str = "k") -> Entry:
    asked = Requested(
        command="tool.invoke", resource=tool, key=key, arguments={"order": "A1"}, digest="d", deadline_ms=1
    )
    return entry(position, tool, asked)


def finished(position: int, tool: str) -> Entry:
    return entry(position, tool, Finished(outcome="ok", duration_ms=1.0))


def served(position: int, tool: str, origin: int) -> Entry:
    return entry(position, f"new-{tool}", Finished(outcome="ok", duration_ms=1.0, served_from=origin), "r2")


def one_after_another(*tools: str) -> list[Entry]:
    return [event for n, tool in enumerate(tools) for event in (requested(2 * n + 1, tool), finished(2 * n + 2, tool))]


ABC = one_after_another("a", "b", "c")
BESIDE = [requested(1, "a"), requested(2, "b"), finished(3, "b"), finished(4, "a"), requested(5, "c"), finished(6, "c")]


def test_in_its_order_everything_is_served_then_it_is_live() -> None:
    fork = Fork(record(ABC, before=EVERYTHING))
    found = [fork.next(ask(tool)) for tool in ("a", "b", "c", "d")]
    assert [past and (past.stream, past.finished) for past in found] == [
        ("acme.tool.a", 2),
        ("acme.tool.b", 4),
        ("acme.tool.c", 6),
        None,
    ]


@pytest.mark.parametrize(("before", "count"), [(1, 0), (2, 0), (3, 1), (4, 1), (5, 2), (7, 3)])
def test_the_record_ends_before_the_event(before: int, count: int) -> None:
    assert len(record(ABC, before=before)) == count


@pytest.mark.parametrize("order", [("a", "b", "c"), ("b", "a", "c")])
def test_what_went_on_side_by_side_may_come_in_any_order(order: tuple[str, ...]) -> None:
    fork = Fork(record(BESIDE, before=EVERYTHING))
    assert all(fork.next(ask(tool)) for tool in order)


@pytest.mark.parametrize("order", ["c", "ac", "bc"])
def test_what_came_after_may_not_come_before(order: str) -> None:
    fork = Fork(record(BESIDE, before=EVERYTHING))
    *first, last = list(order)
    assert all(fork.next(ask(tool)) for tool in first)
    with pytest.raises(Diverged) as caught:
        fork.next(ask(last))
    expected = [tool for tool in "ab" if tool not in order]
    assert caught.value.extra["asked"] == "c"
    assert caught.value.extra["expected"] == [f'{tool}(order="A1")' for tool in expected]


def test_a_fork_that_diverged_has_stopped() -> None:
    fork = Fork(record(ABC, before=EVERYTHING))
    first = fork.next(ask("a"))
    for _ in range(2):
        with pytest.raises(Diverged, match="record holds b"):
            fork.next(ask("x"))
    with pytest.raises(Diverged, match="stopped"):
        fork.next(ask("b"))
    assert fork.next(ask("a")) == first, "what was served stays served"


def test_the_same_action_asked_again_has_the_same_answer() -> None:
    fork = Fork(record(one_after_another("a", "a2"), before=EVERYTHING))
    assert fork.next(ask("a", by="x")) == fork.next(ask("a", by="x"))
    with pytest.raises(Diverged):
        fork.next(ask("a", by="y"))


def test_equal_actions_are_served_one_by_one() -> None:
    twice = [requested(1, "a"), finished(2, "a"), requested(3, "a"), finished(4, "a")]
    twice[2:] = [event.model_copy(update={"stream": "acme.tool.again"}) for event in twice[2:]]
    fork = Fork(record(twice, before=EVERYTHING))
    found = [fork.next(ask("a", by=str(n))) for n in range(3)]
    assert [past and past.finished for past in found] == [2, 4, None]


def test_what_another_action_asked_is_served_but_not_waited_for() -> None:
    key = f"{'0' * 32}:model:auto"
    inner = [requested(1, "review"), requested(2, "asked", key=key), finished(3, "asked"), finished(4, "review")]
    again = Fork(record(inner, before=EVERYTHING))
    assert again.next(ask("asked")) and again.next(ask("review"))
    fork = Fork(record(inner, before=EVERYTHING))
    assert fork.next(ask("review"))
    assert fork.next(ask("live")) is None


def test_after_a_restart_a_stopped_fork_is_still_stopped() -> None:
    problem = Diverged("it asked for x").details
    stopped = entry(9, "x", Finished(outcome="error", problem=problem, duration_ms=0), "r2")
    with pytest.raises(Diverged, match="stopped"):
        resume(record(ABC, before=EVERYTHING), [served(8, "a", 2), stopped]).next(ask("b"))


@given(st.permutations(["a", "b", "c", "d"]), st.integers(0, 4))
def test_however_far_it_came_it_goes_on_from_the_log(order: list[str], done: int) -> None:
    """Four side by side: any order will do, and a fork that is read from its own events holds the same next."""
    starts = [requested(n, tool) for n, tool in enumerate("abcd", 1)]
    past = record([*starts, *(finished(n, tool) for n, tool in enumerate("abcd", 5))], before=EVERYTHING)
    fork = Fork(list(past))
    found = {tool: fork.next(ask(tool)) for tool in order[:done]}
    again = resume(past, [served(20 + n, tool, each.finished) for n, (tool, each) in enumerate(found.items()) if each])
    assert again == fork
    assert all(again.next(ask(tool)) for tool in order) and again.next(ask("e")) is None


def test_what_people_said_of_its_data_is_none_of_what_a_program_asks_for() -> None:
    said = [
        each.model_copy(update={"stream": "acme.endorsement.e", "type": each.type.replace("tool.", "endorsement.")})
        for each in (requested(3, "b"), finished(4, "b"))
    ]
    fork = Fork(record([*ABC[:2], *said, requested(5, "c"), finished(6, "c")], before=EVERYTHING))
    assert [past and past.stream for past in (fork.next(ask("a")), fork.next(ask("c")))] == [
        "acme.tool.a",
        "acme.tool.c",
    ]
