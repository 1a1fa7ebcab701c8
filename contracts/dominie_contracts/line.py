"""One event as one line of a trail, and what the lines of a run say of how it stands. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple, get_args
from urllib.parse import unquote

from pydantic import JsonValue

from dominie_contracts.action import Decision
from dominie_contracts.envelope import Recorded
from dominie_contracts.identity import RUN
from dominie_contracts.judge import JUDGE
from dominie_contracts.registry import upcast
from dominie_contracts.summary import signature, summarise

RunStatus = Literal["running", "waiting", "finished", "held", "failed"]


@dataclass(frozen=True, slots=True)
class Line:
    """One event: its place, who did what for whom, and the numbers and words that people look for."""

    position: int
    stream: str
    version: int
    type: str
    time: datetime
    tenant: str
    category: str
    action: str
    """The stream's id: an action's events, its permit and its approval share it."""
    agent: str
    """The principal that acted; of a run's opening the agent whose run it is."""
    user: str | None
    run: str | None
    call: str | None
    """What was asked, as a call; on `requested` alone."""
    resource: str | None
    """The tool, model or namespace; on `requested` alone."""
    decision: Decision | None
    outcome: str | None
    """`ok` or `error`; of a verdict `released` or `held`; of an approval `grant` or `deny`; of a lease `renewed`."""
    cost_usd: float | None
    """What it adds to the run's cost; a judge's cost is that of its model calls, which stand for themselves, and what
    is served from another run's record costs nothing."""
    duration_ms: float | None
    text: str
    """The event in a few words."""

    @property
    def step(self) -> "Step":
        """What it says of its run."""
        return Step(self.type, self.action, self.outcome)


class Step(NamedTuple):
    """What one event says of its run's status."""

    type: str
    action: str
    outcome: str | None


def line(event: Recorded, *, words: bool = True) -> Line:
    """The line of an event; total: an event of a later version has fewer fields.

    Without `words`, `call` and `text` are left out: they cost more than all the rest.
    """
    envelope = event.envelope
    type_, data = upcast(envelope.type, envelope.data)
    category, _, id_ = envelope.stream.split(".", 1)[1].partition(".")  # as the store wrote it: no need to check it
    kind = type_.partition(".")[2]
    command = _text(data, "command") if kind == "requested.v1" else None
    arguments = data.get("arguments")
    resource = _text(data, "resource") if command else None
    own = data if category == RUN else {}
    done = data if kind == "finished.v1" and data.get("served_from") is None else {}
    return Line(
        position=event.position,
        stream=envelope.stream,
        version=envelope.version,
        type=envelope.type,
        time=envelope.time,
        tenant=envelope.tenant,
        category=category,
        action=unquote(id_),
        agent=_text(own, "agent") or envelope.actor.partition(" ")[0],
        user=envelope.on_behalf_of or _text(own, "user"),
        run=envelope.correlation_id or _text(own, "run"),
        call=signature(command, resource, arguments if isinstance(arguments, dict) else {})
        if command and words
        else None,
        resource=resource,
        decision=_DECISIONS.get(_text(data, "decision") or "") if kind == "decided.v1" else None,
        outcome=step_of(envelope.type, "", data).outcome,
        cost_usd=_number(done, "cost_usd") if category != JUDGE else None,
        duration_ms=_number(done, "duration_ms"),
        text=summarise(envelope.type, data, at=envelope.time) if words else "",
    )


def step_of(type_: str, action: str, data: dict[str, JsonValue]) -> Step:
    """What an event says of its run, from its type, its stream's id and its data."""
    kind = type_.partition(".")[2]
    return Step(type_, action, _text(data, _OUTCOMES[kind]) if kind in _OUTCOMES else _renewed(kind, data))


def run_status(steps: Iterable[Step]) -> RunStatus:
    """How a run stands after these events, in order.

    Nothing in the log says that a run is over: it has finished when no action is under way, and failed when the last
    one to end has failed. A person who is waited for comes first, an answer that was held before a failure.
    """
    actions: dict[str, str] = {}
    held = False
    for step in steps:
        kind = step.type.partition(".")[2]
        held = step.outcome == "held" if kind == "judged.v1" else held
        state = _STATES.get(kind) or _STATES.get(f"{kind} {step.outcome}")
        if state is not None:
            actions.pop(step.action, None)
            actions[step.action] = state
    states = list(actions.values())
    if "waiting" in states:
        return "waiting"
    if "open" in states or not states:
        return "running"
    if held:
        return "held"
    return "finished" if states[-1] == "done" else "failed"


_DECISIONS: dict[str, Decision] = {decision: decision for decision in get_args(Decision)}
_OUTCOMES = {"finished.v1": "outcome", "judged.v1": "verdict", "answered.v1": "decision"}
"""Where an event of this kind says how it went."""
_STATES = {
    "requested.v1": "open",
    "approved.v1": "open",
    "started.v1": "open",
    "parked.v1": "waiting",
    "unknown.v1": "failed",
    "finished.v1 ok": "done",
    "finished.v1 error": "failed",
}


def _renewed(kind: str, data: dict[str, JsonValue]) -> str | None:
    return "renewed" if kind == "started.v1" and data.get("renewed") is True else None


def _text(data: dict[str, JsonValue], name: str) -> str | None:
    value = data.get(name)
    return value if isinstance(value, str) else None


def _number(data: dict[str, JsonValue], name: str) -> float | None:
    value = data.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
