"""What an agent means to do in a run: which tools, how often, with which arguments fixed. Pure."""

import re
from typing import Literal

from pydantic import Field, JsonValue, field_validator, model_validator

from dominie_contracts.base import Json, Message
from dominie_contracts.digests import digest_json
from dominie_contracts.problems import Invalid

MAX_PLAN_BYTES = 64 * 1024
MAX_PLAN_CALLS = 10_000
_POINTER = re.compile(r"(/([^~/]|~[01])*)*")
Lack = Literal["tool", "argument", "order", "times"]
"""Why a call is outside of a plan: it has no step of that tool, none with that argument, none any more in its order, or
the steps have been taken as often as they may."""


class PlanStep(Message):
    """One step: a tool, at most so often, where what is fixed is as it says."""

    tool: str = Field(min_length=1, max_length=200)
    most: int = Field(default=1, ge=1, le=MAX_PLAN_CALLS)
    fixed: dict[str, Json] = Field(default_factory=dict)
    """Arguments by JSON pointer (RFC 6901): the value that stands there."""

    @field_validator("fixed")
    @classmethod
    def _of_pointers(cls, fixed: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if wrong := [pointer for pointer in fixed if not _POINTER.fullmatch(pointer)]:
            raise ValueError(f"{wrong[0]!r} is no JSON pointer; one looks like /order")
        return fixed

    def holds(self, tool: str, arguments: dict[str, JsonValue]) -> bool:
        """Whether a call is of this step."""
        return tool == self.tool and all(_is_at(arguments, *each) for each in self.fixed.items())


class Plan(Message):
    """The steps of a run; where they are `ordered`, none is taken once one after it was."""

    steps: tuple[PlanStep, ...] = Field(min_length=1, max_length=256)
    ordered: bool = False

    @model_validator(mode="after")
    def _is_bounded(self) -> "Plan":
        try:
            self.digest  # noqa: B018  # what has no canonical form can be bound to nothing
        except Invalid as error:
            raise ValueError(error.detail) from error
        if len(self.model_dump_json()) > MAX_PLAN_BYTES:
            raise ValueError(f"a plan has at most {MAX_PLAN_BYTES} bytes")
        if sum(step.most for step in self.steps) > MAX_PLAN_CALLS:
            raise ValueError(f"a plan is of at most {MAX_PLAN_CALLS} calls in all")
        return self

    @property
    def digest(self) -> str:
        """What a run is bound to: its SHA-256 (RFC 8785)."""
        return digest_json(self.model_dump(mode="json"))


def _is_at(value: JsonValue, pointer: str, wanted: JsonValue) -> bool:
    """Whether the same JSON stands there: `1` is `1.0`, and neither is `true` or `"1"`."""
    for token in pointer.split("/")[1:]:
        name = token.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and name in map(str, range(len(value))):
            value = value[int(name)]
        else:
            return False
    try:
        return digest_json(value) == digest_json(wanted)
    except Invalid:
        return False
