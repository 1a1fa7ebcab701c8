"""A policy set that decides: in Cedar, from handles that are kept, by the policies whose head fits the request."""

import marshal
import re
import time
from collections import OrderedDict
from collections.abc import Iterable
from functools import lru_cache

import cedarpy
from pydantic import JsonValue
from pydantic_core import to_json

from dominie_contracts.action import Ask, Decided, Decision, Limit
from dominie_contracts.approvals import USER
from dominie_contracts.guardrail import PolicyFile
from dominie_kit.checks.lists import read_lists
from dominie_kit.policy.looked_for import known
from dominie_kit.policy.planned import PLAN
from dominie_kit.policy.question import Question
from dominie_kit.policy.rules import applies, read_set
from dominie_kit.policy.shapes import WIDEN, Shape, shape_for
from dominie_kit.policy.slices import Slice, Told

UNDECIDABLE = "undecidable: "
"""How the reason begins of a denial that no policy made."""
_CACHE, _SLICES = 8192, 1024
_SMALL = 4096
"""Bytes of a request that is kept: who asks says how large they are."""
ASK_THE_USER = Ask(policy="widening", group=USER, why="a run asks for more than it was let", digest="1")
"""Who is asked for a widening where no policy names others."""
_QUOTED = re.compile(r"`(policy\d+)?[^`]*`")
_BY_VALUE = 2
"""The last version of `marshal` that never refers back to an object it has written: equal values, equal bytes."""


class Policies:
    """A parsed policy set that answers questions.

    Raises:
        ValueError: A file does not parse, or is no deny list.
    """

    def __init__(self, digest: str, files: tuple[PolicyFile, ...]) -> None:
        self.digest = digest
        self.rules = read_set(files)
        self.lists = read_lists(files)
        self.hits = self.misses = 0
        self._rules = {rule.key: rule for rule in self.rules}
        self._decided: OrderedDict[tuple[str, bytes], Decided] = OrderedDict()
        self._second_s = 0
        self._this_second: dict[tuple[Shape | None, bytes], Decided] = {}
        """Whole decisions by whole requests, while the clock says the same."""
        self._slices: OrderedDict[tuple[str, str], Slice] = OrderedDict()
        self._sliced: dict[tuple[str, tuple[str, ...]], Slice] = {}

    def __len__(self) -> int:
        return len(self._rules)

    def decide(self, question: Question, *, clock_s: int | None = None) -> Decided:
        """Decide; with `clock_s`, at another time than now."""
        clock_s = int(time.time()) if clock_s is None else clock_s
        if clock_s != self._second_s:
            self._second_s = clock_s
            self._this_second.clear()
        parts = question.principal, question.action, question.resource_type, question.resource, dict(question.context)
        whole = (question.shape, marshal.dumps(parts, _BY_VALUE))
        found = self._this_second.get(whole)
        if found is not None:
            self.hits += 1
            return found
        decided = self._filled_in(question, clock_s)
        if len(whole[1]) <= _SMALL and len(self._this_second) < _CACHE:
            self._this_second[whole] = decided
        return decided

    def _filled_in(self, question: Question, clock_s: int) -> Decided:
        made: dict[str, object] = {"request": question.request, "clock_s": clock_s}
        shape = question.shape or shape_for(question.action, question.resource, question.context)
        if shape is None:
            known = _deny((), f"{UNDECIDABLE}there is no action {question.action!r}")
        else:
            known = self._known(question, shape, clock_s)
            made |= {"policy_set": self.digest, "schema_digest": shape.digest}
        return known.model_copy(update=made)

    def looks_at(self, question: Question) -> frozenset[str]:
        """Which attributes of the context the policies look at that could apply."""
        shape = question.shape or shape_for(question.action, question.resource, question.context)
        return self._slice(shape, question.resource).reads if shape else frozenset()

    def seeks(self, question: Question) -> frozenset[str]:
        """What the policies that could apply ask `context.found` for; `*` where they do more with it."""
        shape = question.shape or shape_for(question.action, question.resource, question.context)
        return self._slice(shape, question.resource).seeks if shape else frozenset()

    def _known(self, question: Question, shape: Shape, clock_s: int) -> Decided:
        slice_ = self._slice(shape, question.resource)
        if PLAN in question.context and (refused := slice_.outside(question.context)) is not None:
            return _deny((), refused)
        if slice_.seeks and not known(question.context, slice_.seeks):
            return _deny((), f"{UNDECIDABLE}the checks that policies look at have not looked")
        told = slice_.told(question, clock_s)
        depends = question.principal, question.resource, told.context, len(told.names)
        key = shape.digest, marshal.dumps(depends, _BY_VALUE)
        found = self._decided.get(key)
        if found is not None:
            self.hits += 1
            return found
        self.misses += 1
        found = self._decide(question, shape, slice_, told)
        if len(key[1]) <= _SMALL:
            self._decided[key] = found
        if len(self._decided) > _CACHE:
            self._decided.popitem(last=False)
        return found

    def _slice(self, shape: Shape, resource: str) -> Slice:
        key = shape.digest, resource
        found = self._slices.get(key)
        if found is None:
            rules = [rule for rule in self.rules if applies(rule, shape, resource)]
            names = tuple(rule.key for rule in rules)
            found = self._slices[key] = self._sliced.get((shape.digest, names)) or Slice(rules, shape)
            self._sliced[shape.digest, names] = found
            if len(self._slices) > _SLICES:
                self._slices.clear()
                self._sliced.clear()
        return found

    def _decide(self, question: Question, shape: Shape, slice_: Slice, told: Told) -> Decided:
        kept = slice_.handles(told)
        try:
            request = _evaluated(question, shape, told.context)
            result = cedarpy.is_authorized(request, slice_.all, kept.entities, kept.schema)
        except ValueError as error:
            return _deny((), f"{UNDECIDABLE}the request is not text that can be read ({type(error).__name__})")
        rules = [self._rules[key] for key in result.diagnostics.reasons]
        names = tuple(rule.name for rule in rules)
        if result.diagnostics.errors or result.decision == cedarpy.Decision.NoDecision:
            return _deny(names, f"{UNDECIDABLE}{self._told(result.diagnostics.errors) or 'no answer'}")
        if result.decision == cedarpy.Decision.Allow:
            return _allowed(shape, names)
        if not rules:
            return _deny((), "no policy permits it")
        firm = [rule for rule in rules if rule.firm]
        if firm:
            return _deny(names, *(rule.why for rule in firm))
        permitted = cedarpy.is_authorized(request, slice_.firm, kept.entities, kept.schema)
        if permitted.decision != cedarpy.Decision.Allow or permitted.diagnostics.errors:
            return _deny(names, *(rule.why for rule in rules))
        asks = tuple(rule.ask for rule in rules if rule.ask is not None)
        limits = tuple(rule.limit for rule in rules if rule.limit is not None)
        if not asks:
            return _allowed(shape, names, "within what calls may have together", limits=limits)
        return _decided("ask", names, *(ask.why for ask in asks), asks=asks, limits=limits)

    def _told(self, errors: Iterable[object]) -> str:
        """Cedar's errors, without the values that they quote: a reason is written as it is, and those are personal."""

        def named(found: re.Match[str]) -> str:
            rule = self._rules.get(found[1] or "")
            return f"`{rule.name if rule else '…'}`"

        return "; ".join(_QUOTED.sub(named, str(error)) for error in errors)


def _evaluated(question: Question, shape: Shape, context: dict[str, JsonValue]) -> dict[str, object]:
    """The request as Cedar takes it.

    Raises:
        ValueError: A text in it is none.
    """
    return {
        "principal": {"type": "Agent", "id": question.principal},
        "action": {"type": "Action", "id": shape.action},
        "resource": {"type": question.resource_type, "id": question.resource},
        "context": to_json(context, inf_nan_mode="constants").decode(),
    }


def _allowed(shape: Shape, names: tuple[str, ...], *why: str, limits: tuple[Limit, ...] = ()) -> Decided:
    """What policies allow; more than a run was let is still its user's to give, where they name nobody else."""
    if shape.action == WIDEN:
        return _decided("ask", names, *why, ASK_THE_USER.why, asks=(ASK_THE_USER,), limits=limits)
    return _decided("allow", names, *why, limits=limits)


def _deny(names: tuple[str, ...], *why: str) -> Decided:
    return _decided("deny", names, *why)


@lru_cache(1024)
def _decided(
    decision: Decision,
    names: tuple[str, ...],
    *why: str,
    asks: tuple[Ask, ...] = (),
    limits: tuple[Limit, ...] = (),
) -> Decided:
    """A decision, the same one for many requests; whose it is, each time it is made, is filled in then."""
    return Decided(decision=decision, policies=names, why=why, asks=asks, limits=limits, request={})
