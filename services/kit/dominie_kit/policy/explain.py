"""Why a decision was made: the policies that made it, in their own words, and what they looked at. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import Field, JsonValue

from dominie_contracts import Message, StreamName
from dominie_contracts.action import Ask, Decided, Decision
from dominie_contracts.audit import Entry
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import PolicyFile
from dominie_contracts.subjects import PLATFORM
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.rules import Rule, looks
from dominie_kit.policy.schema import NOW


class Because(Message):
    """One policy that made a decision so."""

    policy: str
    file: str
    effect: Literal["permit", "forbid"]
    why: str
    ask: Ask | None
    text: str
    looked_at: dict[str, JsonValue]
    """The attributes of the context that it looks at, and their values; a missing one is not there."""


class Explanation(Message):
    """A decision, and why."""

    decision: Decision
    why: tuple[str, ...]
    because: tuple[Because, ...]
    observed: bool = False
    time: str | None = None
    policy_set: str = ""
    known: bool = True
    """Whether the policies of then were found, so that `because` says all."""
    request: dict[str, JsonValue] = Field(default_factory=dict)


def explain(decided: Decided, policies: Policies | None, *, time: str | None = None) -> Explanation:
    """A decision, by the policies that made it where they are at hand."""
    context = decided.request.get("context")
    told = dict(context) if isinstance(context, dict) else {}
    if decided.clock_s is not None:
        told[NOW] = f"{datetime.fromtimestamp(decided.clock_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    rules = [rule for rule in policies.rules if rule.name in decided.policies] if policies else []
    return Explanation(
        decision=decided.decision,
        why=decided.why,
        because=tuple(_because(rule, told) for rule in rules),
        observed=decided.observed,
        time=time,
        policy_set=decided.policy_set,
        known=policies is not None,
        request=decided.request,
    )


def set_of(entries: Iterable[Entry], digest: str) -> tuple[PolicyFile, ...] | None:
    """The files of a set, from the events that put sets in force or proposed them, oldest first; None: not among them.

    What holds for one tenant is the platform's set with the tenant's own.
    """
    in_force: dict[str, tuple[str, tuple[PolicyFile, ...]]] = {}
    for entry in entries:
        own, files = str(entry.data["digest"]), files_of(entry)
        if own == digest:
            return files
        if entry.type.startswith("policy.published"):
            in_force[StreamName.parse(entry.stream).tenant] = own, files
            found = _together(in_force, digest)
            if found is not None:
                return found
    return None


def _together(in_force: Mapping[str, tuple[str, tuple[PolicyFile, ...]]], digest: str) -> tuple[PolicyFile, ...] | None:
    if PLATFORM not in in_force:
        return None
    platform, files = in_force[PLATFORM]
    for own, more in in_force.values():
        if digest_json([platform, own]) == digest:
            return (*files, *more)
    return None


def files_of(entry: Entry) -> tuple[PolicyFile, ...]:
    """The files of a set that was published or proposed."""
    found = entry.data["files"]
    return tuple(map(PolicyFile.model_validate, found)) if isinstance(found, list) else ()


def _because(rule: Rule, context: Mapping[str, JsonValue]) -> Because:
    values = {".".join(path): _at(context, path) for path in sorted(set(looks(rule.body)))}
    return Because(
        policy=rule.name,
        file=rule.file,
        effect="forbid" if rule.forbids else "permit",
        why=rule.why if rule.forbids else "",
        ask=rule.ask,
        text=rule.text,
        looked_at={name: value for name, value in values.items() if value is not None},
    )


def _at(context: JsonValue | Mapping[str, JsonValue], path: tuple[str, ...]) -> JsonValue:
    for name in path:
        context = context.get(name) if isinstance(context, Mapping) else None
    return context  # type: ignore[return-value]  # at the end of a path stands a value
