"""A policy set that decides: in Cedar, from handles that are kept, by the policies whose head fits the request."""

import marshal
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

import cedarpy
from pydantic import JsonValue

from dominie_contracts.action import Ask, Decided, Decision
from dominie_contracts.guardrail import PolicyFile
from dominie_kit.policy.rules import EVERYTHING, Rule, applies, policy_json, read_set
from dominie_kit.policy.schema import ARGUMENTS, NOW, handles
from dominie_kit.policy.shapes import Shape, shape_for

_CACHE, _SLICES = 8192, 1024
_QUOTED = re.compile(r"`(policy\d+)?[^`]*`")
_BY_VALUE = 2
"""The last version of `marshal` that never refers back to an object it has written: equal values, equal bytes."""
_LONG = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True)
class Question:
    """May this principal do this to that?"""

    principal: str
    action: str
    resource_type: str
    resource: str
    context: Mapping[str, JsonValue] = field(default_factory=dict)
    shape: Shape | None = None
    """The action's own types, where the tool is at hand; else those that the context shows."""

    @property
    def request(self) -> dict[str, JsonValue]:
        """The whole request, as Cedar takes it, but for the clock."""
        return {
            "principal": {"type": "Agent", "id": self.principal},
            "action": {"type": "Action", "id": self.shape.action if self.shape else self.action},
            "resource": {"type": self.resource_type, "id": self.resource},
            "context": dict(self.context),
        }


class _Outcome(NamedTuple):
    decision: Decision
    policies: tuple[str, ...] = ()
    why: tuple[str, ...] = ()
    asks: tuple[Ask, ...] = ()


class _Slice:
    """The policies of a set that can apply to one action on one thing."""

    def __init__(self, rules: list[Rule]) -> None:
        reads = frozenset[str]().union(*(rule.reads for rule in rules))
        self.reads = reads | {NOW, ARGUMENTS} if EVERYTHING in reads else reads
        self.extra = self.reads & {NOW, ARGUMENTS}
        self.all = cedarpy.PolicySet.from_json_str(policy_json(rules))
        self.firm = cedarpy.PolicySet.from_json_str(policy_json([rule for rule in rules if rule.ask is None]))

    def key(self, question: Question, clock_s: int) -> bytes:
        """What a decision depends on, in bytes: of what no policy looks at, only whether it is of its type."""
        every = EVERYTHING in self.reads
        seen = {
            name: value if every or name in self.reads else _kind(value)
            for name, value in question.context.items()
            if name != ARGUMENTS or ARGUMENTS in self.extra
        }
        now = clock_s if NOW in self.extra else 0
        return marshal.dumps((question.principal, question.action, question.resource, seen, now), _BY_VALUE)


class Policies:
    """A parsed policy set that answers questions.

    Raises:
        ValueError: A file does not parse.
    """

    def __init__(self, digest: str, files: tuple[PolicyFile, ...]) -> None:
        self.digest = digest
        self.rules = read_set(files)
        self.hits = self.misses = 0
        self._rules = {rule.key: rule for rule in self.rules}
        self._decided: OrderedDict[tuple[str, bytes], _Outcome] = OrderedDict()
        self._slices: OrderedDict[tuple[str, str], _Slice] = OrderedDict()
        self._sliced: dict[tuple[str, ...], _Slice] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def decide(self, question: Question, *, clock_s: int | None = None) -> Decided:
        """Decide; with `clock_s`, at another time than now."""
        clock_s = int(time.time()) if clock_s is None else clock_s
        shape = question.shape or shape_for(question.action, question.resource, question.context)
        if shape is None:
            outcome = _deny((), f"undecidable: there is no action {question.action!r}")
        else:
            outcome = self._known(question, shape, clock_s)
        return Decided(
            decision=outcome.decision,
            policies=outcome.policies,
            why=outcome.why,
            asks=outcome.asks,
            request=question.request,
            policy_set=self.digest,
            schema_digest=shape.digest if shape else "",
            clock_s=clock_s,
        )

    def _known(self, question: Question, shape: Shape, clock_s: int) -> _Outcome:
        slice_ = self._slice(shape, question.resource)
        key = shape.digest, slice_.key(question, clock_s)
        found = self._decided.get(key)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        found = self._decided[key] = self._decide(question, shape, slice_, clock_s)
        if len(self._decided) > _CACHE:
            self._decided.popitem(last=False)
        return found

    def _slice(self, shape: Shape, resource: str) -> _Slice:
        key = shape.action, resource
        found = self._slices.get(key)
        if found is None:
            rules = [rule for rule in self.rules if applies(rule, shape, resource)]
            names = tuple(rule.key for rule in rules)
            found = self._slices[key] = self._sliced.get(names) or _Slice(rules)
            self._sliced[names] = found
            if len(self._slices) > _SLICES:
                self._slices.clear()
                self._sliced.clear()
        return found

    def _decide(self, question: Question, shape: Shape, slice_: _Slice, clock_s: int) -> _Outcome:
        kept = handles(shape, slice_.extra)
        request = _evaluated(question, shape, slice_, clock_s)
        try:
            result = cedarpy.is_authorized(request, slice_.all, kept.entities, kept.schema)
        except ValueError as error:
            return _deny((), f"undecidable: the request is not text that can be read ({type(error).__name__})")
        rules = [self._rules[key] for key in result.diagnostics.reasons]
        names = tuple(rule.name for rule in rules)
        if result.diagnostics.errors or result.decision == cedarpy.Decision.NoDecision:
            return _deny(names, f"undecidable: {self._told(result.diagnostics.errors) or 'no answer'}")
        if result.decision == cedarpy.Decision.Allow:
            return _Outcome("allow", names)
        if not rules:
            return _deny((), "no policy permits it")
        firm = [rule for rule in rules if rule.ask is None]
        if firm:
            return _deny(names, *(rule.why for rule in firm))
        permitted = cedarpy.is_authorized(request, slice_.firm, kept.entities, kept.schema)
        if permitted.decision != cedarpy.Decision.Allow or permitted.diagnostics.errors:
            return _deny(names, *(rule.why for rule in rules))
        asks = tuple(rule.ask for rule in rules if rule.ask is not None)
        return _Outcome("ask", names, tuple(ask.why for ask in asks), asks)

    def _told(self, errors: Iterable[object]) -> str:
        """Cedar's errors, without the values that they quote: a reason is written as it is, and those are personal."""

        def named(found: re.Match[str]) -> str:
            rule = self._rules.get(found[1] or "")
            return f"`{rule.name if rule else '…'}`"

        return "; ".join(_QUOTED.sub(named, str(error)) for error in errors)


def _evaluated(question: Question, shape: Shape, slice_: _Slice, clock_s: int) -> dict[str, JsonValue]:
    """The request with what the policies look at: the clock, and the arguments."""
    context = dict(question.context)
    if ARGUMENTS not in slice_.extra:
        context.pop(ARGUMENTS, None)
    if NOW in slice_.extra:
        context[NOW] = f"{datetime.fromtimestamp(clock_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return question.request | {"action": {"type": "Action", "id": shape.action}, "context": context}


def _kind(value: JsonValue) -> JsonValue | bytes:
    """What stands for a value that only has to be of its type."""
    if isinstance(value, str) and value.isascii():
        return b"text"
    if type(value) is int and value in _LONG:
        return b"number"
    return value


def _deny(names: tuple[str, ...], *why: str) -> _Outcome:
    return _Outcome("deny", names, why)
