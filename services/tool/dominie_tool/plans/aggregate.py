"""Which step of its run's plan a call is of. Pure."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue

from dominie_contracts.plans import Lack, Plan
from dominie_contracts.tool import PlanTaken


@dataclass(frozen=True, slots=True)
class Taken:
    """The steps that actions of a run have taken."""

    steps: Mapping[str, int] = field(default_factory=dict)
    """By action, in the order in which they were taken."""
    version: int = 0

    def but(self, actions: Collection[str]) -> "Taken":
        """As if these had taken none."""
        return Taken({action: step for action, step in self.steps.items() if action not in actions}, self.version)

    def after(self, other: "Taken") -> "Taken":
        """With what others had taken before."""
        return Taken({**other.steps, **self.steps}, self.version)


@dataclass(frozen=True, slots=True)
class Call:
    """One call, by its action."""

    action: str
    tool: str
    arguments: dict[str, JsonValue]


def place(plan: Plan, taken: Taken, call: Call) -> int | Lack:
    """The step that a call is of, the one that it has taken first; or why it is outside of the plan.

    An action has one step, however often it is asked for. Where steps are ordered, none is taken once a later one was.
    """
    named = [at for at, step in enumerate(plan.steps) if step.tool == call.tool]
    if not named:
        return "tool"
    fits = [at for at in named if plan.steps[at].holds(call.tool, call.arguments)]
    if not fits:
        return "argument"
    held = taken.steps.get(call.action)
    if held is not None:  # it keeps its step: given back for one of another request, it would free what was done
        return held if held in fits else "argument"
    if plan.ordered:
        last = max(taken.steps.values(), default=0)
        fits = [at for at in fits if at >= last]
        if not fits:
            return "order"
    used = Counter(taken.steps.values())
    return next((at for at in fits if used[at] < plan.steps[at].most), "times")


def evolve(taken: Taken, events: Collection[PlanTaken]) -> Taken:
    """What is taken after more events."""
    steps = dict(taken.steps)
    for event in events:
        for refused in event.instead_of:
            steps.pop(refused, None)
        steps[event.action] = event.step
    return Taken(steps, taken.version + len(events))
