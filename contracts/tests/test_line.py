"""An event as a line, and how a run stands."""

from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from dominie_contracts import Envelope, Recorded
from dominie_contracts.envelope import GENESIS
from dominie_contracts.line import Line, RunStatus, Step, line, run_status


def read(category: str, kind: str, *, run: str | None = "r-1", actor: str = "a-desk", **data: JsonValue) -> Line:
    envelope = Envelope(
        id="e",
        source="dominie/tool",
        type=f"{category}.{kind}.v1",
        time=datetime(2026, 7, 2, tzinfo=UTC),
        stream=f"0.acme.{category}.x%2E1",
        version=3,
        tenant="acme",
        actor=actor,
        correlation_id=run,
        prev=GENESIS,
        data=data,
    )
    return line(Recorded(768, envelope, envelope.seal()))


def test_a_line_names_who_acted_last_in_the_chain_of_agents() -> None:
    assert read("tool", "started", actor="a-helper a-desk").agent == "a-helper"


def test_a_request_names_what_was_asked() -> None:
    asked = read("tool", "requested", command="tool.invoke", resource="refund", arguments={"order": "A1"})
    assert (asked.call, asked.resource, asked.action) == ('refund(order="A1")', "refund", "x.1")


def test_a_decision_is_no_outcome_and_an_answer_is_no_decision() -> None:
    decided, answered = read("tool", "decided", decision="ask"), read("approval", "answered", decision="grant")
    assert (decided.decision, decided.outcome) == ("ask", None)
    assert (answered.decision, answered.outcome) == (None, "grant")


@pytest.mark.parametrize(("category", "cost"), [("model", 0.01), ("judge", None)])
def test_a_cost_counts_once(category: str, cost: float | None) -> None:
    assert read(category, "finished", outcome="ok", cost_usd=0.01, duration_ms=2).cost_usd == cost
    assert read("permit", "released", cost_usd=0.01).cost_usd is None


def step(kind: str, action: str = "1", outcome: str | None = None) -> Step:
    return Step(f"tool.{kind}.v1", action, outcome)


ASKED, DONE, FAILED = step("requested"), step("finished", outcome="ok"), step("finished", outcome="error")
HELD, RELEASED = Step("judge.judged.v1", "2", "held"), Step("judge.judged.v1", "2", "released")


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([], "running"),
        ([Step("run.opened.v1", "r", None)], "running"),
        ([ASKED], "running"),
        ([ASKED, step("parked")], "waiting"),
        ([ASKED, step("parked"), Step("approval.answered.v1", "1", "grant")], "running"),
        ([ASKED, step("parked"), step("approved"), step("started")], "running"),
        ([ASKED, DONE], "finished"),
        ([ASKED, FAILED], "failed"),
        ([ASKED, FAILED, step("requested", "3"), step("finished", "3", "ok")], "finished"),
        ([ASKED, step("unknown")], "failed"),
        ([ASKED, DONE, HELD, step("finished", "2", "error")], "held"),
        ([ASKED, HELD, step("finished", "1", "ok"), RELEASED], "finished"),
    ],
)
def test_how_a_run_stands(steps: list[Step], status: RunStatus) -> None:
    assert run_status(steps) == status
