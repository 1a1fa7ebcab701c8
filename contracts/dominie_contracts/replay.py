"""A run as it was: what each of its actions had come to after so many events. Pure."""

from collections.abc import Iterable

from pydantic import JsonValue

from dominie_contracts.action import ActionState, Approved, Decision, Status, evolve
from dominie_contracts.audit import Entry
from dominie_contracts.base import Message, Payload
from dominie_contracts.line import RunStatus, run_status, step_of
from dominie_contracts.registry import parse_event
from dominie_contracts.subjects import StreamName


class Deed(Message):
    """One action, as far as it had come."""

    action: str
    command: str
    resource: str | None
    arguments: dict[str, JsonValue]
    status: Status
    decision: Decision | None = None
    policies: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    approved_by: tuple[str, ...] = ()
    attempts: int = 0
    """How often its effect was begun; what has none is not counted."""
    result: JsonValue = None
    problem: str | None = None
    """Why it was refused or failed."""
    cost_usd: float | None = None


class Standing(Message):
    """How a run stood after its first `after` events, of `events` that are on record."""

    run: str
    after: int
    events: int
    status: RunStatus
    deeds: tuple[Deed, ...]
    """In the order in which they were asked for."""


def standing(run: str, entries: Iterable[Entry], *, events: int) -> Standing:
    """How a run stood after these events, its first ones, in order.

    Events of a type or a version that is not known here change nothing but their number.
    """
    states: dict[str, ActionState] = {}
    approvers: dict[str, tuple[str, ...]] = {}
    steps = []
    for entry in entries:
        action = StreamName.parse(entry.stream).id
        steps.append(step_of(entry.type, action, entry.data))
        payload = _payload(entry)
        if payload is not None:
            states[entry.stream] = evolve(states.get(entry.stream, ActionState()), payload)
        if isinstance(payload, Approved):
            approvers[entry.stream] = payload.by
    deeds = [_deed(name, state, approvers.get(name, ())) for name, state in states.items() if state.requested]
    return Standing(run=run, after=len(steps), events=events, status=run_status(steps), deeds=tuple(deeds))


def _payload(entry: Entry) -> Payload | None:
    try:
        return parse_event(entry.type, entry.data)
    except ValueError:
        return None


def _deed(stream: str, state: ActionState, approved_by: tuple[str, ...]) -> Deed:
    requested, decided, finished = state.requested, state.decided, state.finished
    assert requested is not None
    return Deed(
        action=StreamName.parse(stream).id,
        command=requested.command,
        resource=requested.resource,
        arguments=requested.arguments,
        status=state.status,
        decision=decided.decision if decided else None,
        policies=decided.policies if decided else (),
        why=decided.why if decided else (),
        approved_by=approved_by,
        attempts=state.started.attempt if state.started else 0,
        result=finished.result if finished else None,
        problem=finished.problem.detail if finished and finished.problem else None,
        cost_usd=finished.cost_usd if finished else None,
    )
