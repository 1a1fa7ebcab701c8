"""The live page: runs, their actions, their steps, and nothing that an event could smuggle in."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dominie_contracts.action import Decision
from dominie_contracts.line import Line
from dominie_gateway.adapters.page import door, fragments, page, sorry
from dominie_gateway.adapters.timeline import NOWHERE, Home, groups

BEGAN = datetime(2026, 7, 2, 9, 30, tzinfo=UTC)
RUN = Home("acme", "r-1")


def line(position: int, type_: str, text: str, *, decision: Decision | None = None, **fields: Any) -> Line:
    values: dict[str, Any] = {"action": "a1", "agent": "a-desk", "user": "u-dana", "run": "r-1", "tenant": "acme"}
    values |= {"call": None, "resource": None, "outcome": None, "cost_usd": None, "duration_ms": None} | fields
    return Line(
        position=position,
        stream=f"acme.{type_.partition('.')[0]}.{values['action']}",
        version=position,
        type=f"{type_}.v1",
        time=BEGAN + timedelta(milliseconds=position),
        category=type_.partition(".")[0],
        decision=decision,
        text=text,
        **values,
    )


ASKED = line(1, "tool.requested", "refund() asked", call="refund()")
DECIDED = line(2, "tool.decided", "ask: finance", decision="ask")
PARKED = line(3, "tool.parked", "waits for finance")
ANSWERED = line(4, "approval.answered", "granted by u-fin", agent="u-fin", user=None, run=None, outcome="grant")
APPROVED = line(5, "tool.approved", "approved by u-fin")
AGAIN = line(6, "tool.decided", "allowed", decision="allow")
STARTED = line(7, "tool.started", "started on tool-1")
RENEWED = line(8, "tool.started", "still under way on tool-1", outcome="renewed")
TAKEN = line(8, "tool.started", "started again (try 2) on tool-2")
DONE = line(9, "tool.finished", "finished in 5.0 ms", outcome="ok", duration_ms=5.0, cost_usd=0.25)
STORY = [ASKED, DECIDED, PARKED, ANSWERED, APPROVED, AGAIN, STARTED, RENEWED, TAKEN, DONE]


@pytest.mark.parametrize(
    ("lines", "status", "now"),
    [
        (STORY[:1], "open", None),
        (STORY[:3], "waiting", "ask: finance"),
        (STORY[:4], "open", "granted by u-fin"),
        (STORY[:7], "open", "started on tool-1"),
        (STORY[:8], "open", "still under way on tool-1"),
        (STORY, "done", "approved by u-fin; started again (try 2) on tool-2"),
        ([ASKED, STARTED, line(9, "tool.unknown", "unknown")], "failed", "unknown"),
        (
            [ASKED, line(2, "tool.decided", "denied: no", decision="deny"), line(3, "tool.finished", "refused: no")],
            "failed",
            "denied: no",
        ),
        (
            [
                ASKED,
                line(2, "judge.judged", "held: 2 reject", outcome="held"),
                line(3, "judge.finished", "", outcome="ok"),
            ],
            "failed",
            "held: 2 reject",
        ),
    ],
)
def test_an_action_is_one_row_that_says_how_it_stands(lines: list[Line], status: str, now: str | None) -> None:
    ((row,),) = (group.rows for group in groups(lines))
    assert (row.call, row.status, row.now) == ("refund()", status, now)


def test_a_row_shows_the_strictest_decision_its_cost_and_its_time() -> None:
    row = groups(STORY)[0].rows[0]
    assert (row.decision, row.cost_usd, row.duration_ms) == ("ask", 0.25, 5.0)


def test_a_permit_goes_with_its_action_and_says_nothing_of_it() -> None:
    released = line(10, "permit.released", "slot given back")
    assert groups([*STORY, released])[0].rows[0].status == "done"


def test_an_approval_belongs_to_the_run_of_its_action() -> None:
    assert [group.home for group in groups(STORY)] == [RUN]


def test_what_has_no_run_comes_first_a_row_an_event() -> None:
    house = [line(n, "policy.published", "policies", run=None, action="main") for n in (11, 12)]
    found = groups([*STORY, *house])
    assert [(group.home, len(group.rows)) for group in found] == [(NOWHERE, 2), (RUN, 1)]


def test_two_tenants_runs_of_the_same_name_are_two() -> None:
    other = line(10, "tool.requested", "refund() asked", tenant="globex", action="a2")
    assert [group.home.tenant for group in groups([ASKED, other])] == ["acme", "globex"]


def test_a_run_tells_who_for_whom_how_it_stands_and_what_it_cost() -> None:
    html = page(STORY, position=9)
    for shown in ('data-status="finished"', "desk <span", "</span> dana", "r-1", "$0.2500", 'data-position="9"'):
        assert shown in html
    assert "<b>1</b> finished" in html


def test_the_latest_run_stands_first_and_the_house_last() -> None:
    later = line(10, "tool.requested", "refund() asked", run="r-2", action="a2")
    published = line(11, "policy.published", "policies", run=None, action="main")
    html = page([*STORY, later, published], position=11)
    assert html.index(">r-2<") < html.index(">r-1<") < html.index("The house")


def test_an_empty_page_says_what_to_do() -> None:
    assert "dominie exec" in page([], position=0)


def test_only_what_changed_is_sent_again() -> None:
    other = line(10, "tool.requested", "mail() asked", run="r-2", action="a2", call="mail()")
    html = fragments([*STORY, other], [other])
    assert "mail()" in html and "refund()" not in html
    assert html.startswith('<ul id="totals"') and "\n" not in html


def test_whatever_an_event_holds_is_text() -> None:
    evil = '"><script>alert(1)</script>'
    html = page([line(1, "tool.requested", evil, call=evil, agent=f"a-{evil}", user=evil, run=evil)], position=1)
    assert "<script>alert" not in html and '"><' + "script" not in html.replace('js" defer></script>', "")


def test_what_is_said_at_the_door_is_text() -> None:
    evil = '"><script>alert(1)</script>'
    for html in (sorry(evil), sorry(evil, signed_in=True), door([evil], f"/?{evil}")):
        assert "<script" not in html and "script" in html
