"""A run as it was, after each of its events."""

from itertools import count

from pydantic import JsonValue

from dominie_contracts import Forbidden, Payload
from dominie_contracts.action import Approved, Ask, Decided, Finished, Parked, Requested, Started
from dominie_contracts.audit import Entry
from dominie_contracts.registry import event_type
from dominie_contracts.replay import Deed, standing

ASK = Ask(policy="large-refund", group="finance", why="over $50")
ARGUMENTS: dict[str, JsonValue] = {"order": "A1", "cents": 9000}
REQUESTED = Requested(command="tool.invoke", resource="refund", key="k", arguments=ARGUMENTS, digest="d", deadline_ms=1)
ASKED = Decided(decision="ask", policies=("large-refund",), why=("over $50",), asks=(ASK,), request={})
PARKED = Parked(asks=(ASK,), digest="d", command="tool.invoke", resource="refund", arguments=ARGUMENTS, expires_ms=9)
APPROVED = Approved(approvals=("a1",), by=("u-pat",))
ALLOWED = Decided(decision="allow", policies=("desk",), request={})
STARTED = Started(owner="tool-1", lease_ms=1, attempt=1)
DONE = Finished(outcome="ok", result={"refunded": True}, duration_ms=3.0)
_places = count(1)


def entry(payload: Payload, action: str = "a1") -> Entry:
    return Entry(
        position=next(_places),
        stream=f"acme.tool.{action}",
        version=1,
        type=event_type("tool", payload),
        time="2026-11-21T03:06:53.685Z",
        agent="a-desk",
        user="u-dana",
        run="r1",
        summary="",
        data=payload.model_dump(mode="json"),
    )


TRAIL = [entry(payload) for payload in (REQUESTED, ASKED, PARKED, APPROVED, ALLOWED, STARTED, DONE)]


def after(events: int) -> Deed:
    [deed] = standing("r1", TRAIL[:events], events=len(TRAIL)).deeds
    return deed


def test_an_action_is_what_it_had_come_to() -> None:
    assert [after(n).status for n in range(1, 8)] == [
        "requested",
        "requested",
        "parked",
        "ready",
        "ready",
        "started",
        "finished",
    ]
    assert (after(3).decision, after(3).policies, after(3).approved_by) == ("ask", ("large-refund",), ())
    assert (after(6).decision, after(6).approved_by, after(6).attempts, after(6).result) == (
        "allow",
        ("u-pat",),
        1,
        None,
    )
    assert after(7).result == {"refunded": True}


def test_a_run_is_what_its_actions_are() -> None:
    assert [standing("r1", TRAIL[:n], events=7).status for n in (0, 1, 3, 4, 7)] == [
        "running",
        "running",
        "waiting",
        "running",
        "finished",
    ]


def test_actions_stand_in_the_order_they_were_asked_for() -> None:
    refused = Finished(outcome="error", problem=Forbidden("not her").details, duration_ms=0.0)
    other = [entry(REQUESTED, "b1"), entry(refused, "b1")]
    found = standing("r1", [TRAIL[0], other[0], *TRAIL[1:3], other[1]], events=5)
    assert [(deed.action, deed.status, deed.problem) for deed in found.deeds] == [
        ("a1", "parked", None),
        ("b1", "finished", "not her"),
    ]


def test_what_is_not_known_changes_nothing() -> None:
    strange = [
        entry(DONE).model_copy(update={"type": "tool.finished.v9"}),
        entry(DONE).model_copy(update={"data": {"outcome": "splendid"}}),
        entry(DONE, "never-asked-for"),
    ]
    found = standing("r1", [TRAIL[0], *strange], events=4)
    assert ([deed.status for deed in found.deeds], found.after) == (["requested"], 4)
