"""An event as a line, and how a run stands."""

import json
from datetime import UTC, datetime

import pytest
from pydantic import JsonValue

from dominie_contracts import Draft, Recorded
from dominie_contracts.envelope import GENESIS
from dominie_contracts.line import Line, RunStatus, Step, line, run_status

OPENED: dict[str, JsonValue] = {"run": "r-9", "agent": "a-desk", "user": "u-dana"}


def read(
    category: str,
    kind: str,
    data: dict[str, JsonValue] | None = None,
    *,
    run: str | None = "r-1",
    actor: str = "a-desk",
    **more: JsonValue,
) -> Line:
    draft = Draft(
        id="e",
        source="dominie/tool",
        type=f"{category}.{kind}.v1",
        time=datetime(2026, 7, 2, tzinfo=UTC),
        actor=actor,
        correlation_id=run,
        data=json.dumps({**(data or {}), **more}),
    )
    return line(Recorded(768, draft.seal(f"acme.{category}.x%2E1", "acme", version=3, prev=GENESIS)))


def test_a_line_names_who_acted_last_in_the_chain_of_agents() -> None:
    assert read("tool", "started", actor="a-helper a-desk").agent == "a-helper"


def test_a_request_names_what_was_asked() -> None:
    asked = read("tool", "requested", command="tool.invoke", resource="refund", arguments={"order": "A1"})
    assert (asked.call, asked.resource, asked.action) == ('refund(order="A1")', "refund", "x.1")


@pytest.mark.parametrize("said", ["ask", "deny"])
def test_a_decision_is_no_outcome(said: str) -> None:
    decided = read("tool", "decided", decision=said)
    assert (decided.decision, decided.outcome) == (said, None)


@pytest.mark.parametrize("said", ["grant", "deny"])
def test_a_persons_answer_is_no_decision(said: str) -> None:
    answered = read("approval", "answered", decision=said)
    assert (answered.decision, answered.outcome) == (None, said)


def test_a_lease_that_is_renewed_is_told_from_a_start() -> None:
    assert [read("tool", "started", renewed=renewed).outcome for renewed in (False, True)] == [None, "renewed"]


def test_a_run_is_of_its_agent_whoever_opened_it() -> None:
    opened = read("run", "opened", OPENED, run=None, actor="svc-gateway")
    assert (opened.agent, opened.user, opened.run) == ("a-desk", "u-dana", "r-9")


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
        ([ASKED, step("parked"), Step("approval.answered.v1", "1", "grant")], "waiting"),
        ([ASKED, step("parked"), Step("approval.answered.v1", "1", "grant"), step("approved")], "running"),
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
