"""What policies are told of a call in a run with a plan, and what happens where they say nothing about it. Pure."""

from collections.abc import Mapping
from typing import Literal

from pydantic import JsonValue

from dominie_contracts.plans import Lack

PLAN, LACKS = "plan", "plan_lacks"
Place = Literal["inside", "outside"]
_WHY: Mapping[JsonValue, str] = {
    "tool": "it has no step of this tool",
    "argument": "it fixes another argument",
    "order": "a later step was taken already",
    "times": "its steps have been taken as often as they may",
}


def told(lack: Lack | None) -> dict[str, JsonValue]:
    """The attributes of a call's context: inside of the plan, or what the plan lacks."""
    inside: Place = "outside" if lack else "inside"
    return {PLAN: inside} if lack is None else {PLAN: inside, LACKS: lack}


def refusal(context: Mapping[str, JsonValue]) -> str | None:
    """Why a call is denied; None where it is inside."""
    inside: Place = "inside"
    if context.get(PLAN) == inside:
        return None
    return f"outside of the run's plan: {_WHY.get(context.get(LACKS), 'it does not hold this call')}"
