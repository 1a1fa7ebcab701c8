"""The latest events as people look at them: runs, in each its actions, in each its steps. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from dominie_contracts.action import Decision
from dominie_contracts.line import Line, RunStatus, run_status

_SEVERITY: dict[Decision, int] = {"allow": 0, "ask": 1, "deny": 2}
_SIDE = ("permit",)
"""Categories that only accompany an action."""
_NOTES = ("run", "principal", "policy", "offer", "catalog")
"""Categories whose streams are no actions."""
ActionStatus = Literal["open", "waiting", "done", "failed", "note"]
_STATUS: dict[str, ActionStatus] = {
    "requested.v1": "open",
    "decided.v1": "open",
    "approved.v1": "open",
    "started.v1": "open",
    "parked.v1": "waiting",
    "answered.v1": "open",
    "unknown.v1": "failed",
}


class Home(NamedTuple):
    """Where a row belongs: a tenant's run."""

    tenant: str
    run: str | None


NOWHERE = Home("", None)


@dataclass(frozen=True, slots=True)
class Row:
    """One action of a run, or one note about it, with its steps in order."""

    home: Home
    id: str
    steps: tuple[Line, ...]

    @property
    def began(self) -> datetime:
        """When its first step was."""
        return self.steps[0].time

    @property
    def call(self) -> str:
        """What was asked, or what happened."""
        return next((step.call for step in self.steps if step.call), self._main[0].text)

    @property
    def now(self) -> str | None:
        """What there is to say of it: why it waits or failed, who let it through, that it was taken over."""
        match self.status:
            case "note":
                return None
            case "done":
                said = [*self._said("judged.v1"), *self._said("approved.v1"), *self._said("started.v1")[1:]]
                return "; ".join(said) or None
            case "waiting":
                return self._said("decided.v1", "parked.v1")[0]
            case "failed" if self.decision == "deny" or self._said("judged.v1"):
                return self._said("decided.v1", "judged.v1")[-1]
            case _:
                return None if self._main[-1].call else self._main[-1].text

    @property
    def decision(self) -> Decision | None:
        """The strictest decision on it."""
        found = [step.decision for step in self.steps if step.decision]
        return max(found, key=_SEVERITY.__getitem__, default=None)

    @property
    def status(self) -> ActionStatus:
        """How it stands."""
        found: ActionStatus = "note"
        for step in self._main:
            kind = step.type.partition(".")[2]
            if kind == "finished.v1":
                found = "done" if step.outcome == "ok" else "failed"
            found = _STATUS.get(kind, found)
        held = any(step.outcome == "held" for step in self.steps)
        return "failed" if held and found == "done" else found

    @property
    def cost_usd(self) -> float | None:
        """What it cost; None where nothing was priced."""
        found = [step.cost_usd for step in self.steps if step.cost_usd is not None]
        return sum(found) if found else None

    @property
    def duration_ms(self) -> float | None:
        """How long its work took."""
        return next((step.duration_ms for step in reversed(self.steps) if step.duration_ms is not None), None)

    def _said(self, *kinds: str) -> list[str]:
        steps = (step for step in self.steps if step.outcome != "renewed")
        return [step.text for step in steps if step.type.partition(".")[2] in kinds]

    @property
    def _main(self) -> Sequence[Line]:
        return [step for step in self.steps if step.category not in _SIDE] or self.steps


@dataclass(frozen=True, slots=True)
class Group:
    """One run with its actions; or what belongs to no run: people, policies, models."""

    home: Home
    rows: tuple[Row, ...]

    @property
    def lines(self) -> list[Line]:
        """Its events, in order."""
        return sorted((step for row in self.rows for step in row.steps), key=lambda line: line.position)

    @property
    def agent(self) -> str:
        """The agent that the run is of."""
        lines = self.lines
        return next((line.agent for line in lines if line.agent.startswith("a-")), lines[0].agent)

    @property
    def user(self) -> str | None:
        """On whose behalf."""
        return next((line.user for line in self.lines if line.user), None)

    @property
    def status(self) -> RunStatus:
        """How the run stands."""
        return run_status(line.step for line in self.lines)

    @property
    def cost_usd(self) -> float:
        """What the run cost so far."""
        return sum(row.cost_usd or 0.0 for row in self.rows)

    @property
    def lasted_ms(self) -> float:
        """From the first event to the last."""
        times = [line.time for line in self.lines]
        return (max(times) - min(times)).total_seconds() * 1000


def groups(lines: Iterable[Line]) -> list[Group]:
    """The runs of these events in the order of their beginning; what has no run comes first.

    An approval names no run: it belongs to that of the action it is about.
    """
    lines = list(lines)
    runs = {(line.tenant, line.action): line.run for line in lines if line.run}
    rows: dict[tuple[Home, str], list[Line]] = {}
    for line in lines:
        run = line.run or runs.get((line.tenant, line.action))
        home = Home(line.tenant, run) if run else NOWHERE
        rows.setdefault((home, _row_id(line)), []).append(line)
    found: dict[Home, list[Row]] = {NOWHERE: []}
    for (home, id_), steps in rows.items():
        found.setdefault(home, []).append(Row(home, id_, tuple(steps)))
    return [Group(home, tuple(members)) for home, members in found.items() if members]


def _row_id(line: Line) -> str:
    """An action is one row; of the rest, each event is."""
    return f"{line.tenant} {line.action}" if line.category not in _NOTES else str(line.position)
