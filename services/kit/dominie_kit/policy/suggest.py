"""Policies for what agents have done, as a start: to be read, tested, and then enforced.

What came from no record of a run is never permitted, whatever was done with it.
"""

import json
from collections import Counter
from dataclasses import dataclass, field

import cedarpy
from pydantic import JsonValue

from dominie_contracts import Message
from dominie_contracts.audit import Entry
from dominie_kit.policy.policies import UNDECIDABLE
from dominie_kit.policy.recorded import Lost, Recorded
from dominie_kit.policy.shapes import ENDORSE, INVOKE, PLAIN, VERSION, WIDEN

_AMOUNT: JsonValue = {".": {"left": {"Var": "context"}, "attr": "amount"}}
_NONE_UNTRUSTED: JsonValue = {"isEmpty": {"arg": {".": {"left": {"Var": "context"}, "attr": "untrusted"}}}}


class Suggestion(Message):
    """A policy set, and what it leaves out."""

    decisions: int
    permits: int
    left_out: dict[str, int]
    """Of what was done, by what it was and why it is not permitted."""
    policies: str
    """The file's text."""


@dataclass(slots=True)
class _Use:
    calls: int = 0
    amounts: list[int] = field(default_factory=list)
    other_calls: int = 0
    """Without an amount."""


class Suggesting:
    """Takes in decisions, one after another."""

    def __init__(self) -> None:
        self._decisions = 0
        self._uses: dict[tuple[str, str, str, str], _Use] = {}
        self._left_out = Counter[str]()

    def take(self, entry: Entry) -> None:
        """Learn from one: what was let through, or only observed."""
        self._decisions += 1
        try:
            found = Recorded.of(entry)
        except Lost as lost:
            self._left_out[f"a decision: {lost}"] += 1
            return
        what = f"{found.agent} {found.question.resource}"
        untrusted = found.question.context.get("untrusted")
        if found.question.action in (WIDEN, ENDORSE):
            self._left_out[f"{found.agent} {found.question.action}: people say that"] += 1
        elif untrusted:
            self._left_out[f"{what}: untrusted {_listed(untrusted)}"] += 1
        elif found.why.startswith(UNDECIDABLE):
            self._left_out[f"{what}: undecidable"] += 1
        elif found.decision != "allow" and entry.data.get("observed") is not True:
            self._left_out[f"{what}: {found.decision}"] += 1
        else:
            self._learn(found)

    @property
    def suggestion(self) -> Suggestion:
        """What was learnt so far."""
        head = [
            f"// Written from {self._decisions} recorded decisions: read it, test it, then put it in force.",
            *(f"// Not permitted ({count} times): {_plain(what)}" for what, count in sorted(self._left_out.items())),
        ]
        permits = [_permit(key, use) for key, use in sorted(self._uses.items())]
        return Suggestion(
            decisions=self._decisions,
            permits=len(permits),
            left_out=dict(self._left_out),
            policies="\n\n".join(["\n".join(head), *permits]) + "\n",
        )

    def _learn(self, found: Recorded) -> None:
        question = found.question
        action = question.action if question.action in PLAIN else question.action.partition(VERSION)[0]
        if action == INVOKE:
            action = question.resource
        key = (question.principal, action, question.resource_type, question.resource)
        use = self._uses.setdefault(key, _Use())
        use.calls += 1
        if found.amount is None:
            use.other_calls += 1
        else:
            use.amounts.append(found.amount)


def _permit(key: tuple[str, str, str, str], use: _Use) -> str:
    agent, action, kind, resource = key
    name = f"{agent}-{action}" if action not in PLAIN else f"{agent}-{action}-{resource}"
    body = {
        "effect": "permit",
        "principal": _is("Agent", agent),
        "action": _is("Action", action) if action in PLAIN else {"op": "in", "entity": _entity("Action", action)},
        "resource": _is(kind, resource),
        "conditions": [{"kind": "when", "body": body} for body in _conditions(kind, use)],
        "annotations": {"id": name},
    }
    parsed = {"templates": {}, "templateLinks": [], "staticPolicies": {"policy0": body}}
    text = str(cedarpy.policies_from_json_str(json.dumps(parsed))).strip()
    return f"// {use.calls} times\n{cedarpy.format_policies(text).strip()}"


def _conditions(kind: str, use: _Use) -> list[JsonValue]:
    if kind != "Tool":
        return []
    has: JsonValue = {"has": {"left": {"Var": "context"}, "attr": "amount"}}
    if not use.amounts:
        return [_NONE_UNTRUSTED, {"!": {"arg": has}}]
    within: JsonValue = {"<=": {"left": _AMOUNT, "right": {"Value": max(use.amounts)}}}
    if not use.other_calls:
        return [_NONE_UNTRUSTED, {"&&": {"left": has, "right": within}}]
    return [_NONE_UNTRUSTED, {"||": {"left": {"!": {"arg": has}}, "right": within}}]


def _is(kind: str, id_: str) -> JsonValue:
    return {"op": "==", "entity": _entity(kind, id_)}


def _entity(kind: str, id_: str) -> JsonValue:
    return {"type": kind, "id": id_}


def _listed(roles: JsonValue) -> str:
    return ", ".join(map(str, roles)) if isinstance(roles, list) else str(roles)


def _plain(text: str) -> str:
    """One line of a comment."""
    return "".join(c if c.isprintable() else " " for c in text)
