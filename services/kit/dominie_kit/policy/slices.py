"""The policies of a set that can apply to one thing, and what of a request they look at."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import cedarpy
from pydantic import JsonValue

from dominie_kit.policy.planned import PLAN, refusal
from dominie_kit.policy.question import Question
from dominie_kit.policy.rules import EVERYTHING, Rule, policy_json, seeks
from dominie_kit.policy.schema import ARGUMENTS, NOW, Handles, handles
from dominie_kit.policy.shapes import CHECKED, FOUND, LINKS, MIN, UNKNOWN, Shape
from dominie_kit.policy.types import Type

_LONG = range(-(2**63), 2**63)
_SURE = (ARGUMENTS, MIN, UNKNOWN, "readers", "outside", LINKS, FOUND, CHECKED)
"""What was held against the tool's own schema, or is made here; the last two only where a policy looks at them."""


class Slice:
    """The policies of a set that can apply to one action on one thing, and what they look at."""

    def __init__(self, rules: list[Rule], shape: Shape) -> None:
        kinds = shape.attributes
        reads = frozenset[str]().union(*(rule.reads for rule in rules))
        every = frozenset((*kinds, NOW))
        self.reads = every if EVERYTHING in reads else reads & every
        self.seeks = frozenset[str]().union(*(seeks(rule.body, FOUND) for rule in rules))
        self._shape, self._every = shape, every
        self._fits = {name: fit for name, kind in kinds.items() if name not in self.reads and (fit := _fit(name, kind))}
        self._required = {name for name in self._fits if name not in _SURE and kinds[name].get("required", True)}
        self._told = {name for name in kinds if name not in self._fits}
        self._of_plans = any(rule.forbids and PLAN in rule.reads for rule in rules)
        self.all = cedarpy.PolicySet.from_json_str(policy_json(rules))
        self.firm = cedarpy.PolicySet.from_json_str(policy_json([rule for rule in rules if rule.firm]))

    def told(self, question: Question, clock_s: int) -> "Told":
        """What Cedar is told: the clock and the arguments where they count, and of the rest what a policy looks at.

        What none looks at has only to be of its type, which is seen at once; where it is not, or is not known, Cedar
        is told everything, and says what is wrong.
        """
        context = question.context
        seen = {name: value for name, value in context.items() if name not in self._fits}
        names = frozenset(self._told)
        if (
            not self._required <= context.keys()
            or not seen.keys() <= self._told
            or not all([fits(context[name]) for name, fits in self._fits.items() if name in context])
        ):
            seen, names = dict(context), self._every - {NOW}
        if NOW in self.reads:
            seen[NOW] = f"{datetime.fromtimestamp(clock_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
            names |= {NOW}
        return Told(seen, names)

    def outside(self, context: Mapping[str, JsonValue]) -> str | None:
        """Why a call outside of its run's plan is denied, where no policy says what happens to such calls."""
        return None if self._of_plans else refusal(context)

    def handles(self, told: "Told") -> Handles:
        """The schema of what Cedar is told, and its entities."""
        return handles(self._shape, told.names)


class Told(NamedTuple):
    """The part of a request that its decision depends on."""

    context: dict[str, JsonValue]
    names: frozenset[str]
    """The attributes of the schema that it is held against."""


def _fit(name: str, kind: Type) -> Callable[[JsonValue], bool] | None:
    """Whether a value is of an attribute's type, where that is seen at once."""
    if name in _SURE:
        return _anything
    return _is_text if kind["type"] == "String" else _is_number if kind["type"] == "Long" else None


def _anything(value: JsonValue) -> bool:
    return True


def _is_text(value: JsonValue) -> bool:
    return isinstance(value, str) and (value.isascii() or _is_encodable(value))


def _is_encodable(value: str) -> bool:
    try:
        return bool(value.encode())
    except UnicodeEncodeError:
        return False


def _is_number(value: JsonValue) -> bool:
    return type(value) is int and value in _LONG
