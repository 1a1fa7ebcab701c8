"""The decision point: allow, ask or deny, in memory, from the policies that guardrail last published.

Order (docs/design.md, "A governed action"): a matching forbid without `@ask` is deny; no matching permit is deny;
matching forbids that are all `@ask` are ask; an error in any policy, or a request that does not fit the schema, is
deny, because Cedar would skip a policy that errs.
"""

import json
import marshal
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Self

import cedarpy
from pydantic import JsonValue

from dominie_contracts import Forbidden, Recorded, Unavailable
from dominie_contracts.action import Ask, Decided
from dominie_contracts.guardrail import PoliciesProposed, PoliciesPublished, PolicyFile
from dominie_contracts.operations import ServiceStatus
from dominie_contracts.registry import parse_event
from dominie_contracts.token import Fork
from dominie_eventstore import InMemory
from dominie_kit.asking import ask_of, wrong_annotations

SCHEMA = """
entity Agent, Tool, Model, Namespace;
type Call = {
  tenant: String, user: String, effect: String, kind: String, version: String,
  amount?: Long, recipient?: String, object?: String, code?: String,
  untrusted: Set<String>
};
action "tool.invoke", "tool.begin" appliesTo { principal: [Agent], resource: [Tool], context: Call };
action "model.chat" appliesTo {
  principal: [Agent], resource: [Model], context: { tenant: String, user: String, tools: Set<String>, priority: String }
};
action "memory.remember", "memory.recall" appliesTo {
  principal: [Agent], resource: [Namespace], context: { tenant: String, user: String }
};
"""
"""What policies may speak of; `untrusted` names the roles whose argument came from no record of the run."""

_CACHE = 8192
_PROPOSED = 64
"""The proposed sets that are kept, the latest ones; a fork under an older one is refused."""
_QUOTED = re.compile(r"`(policy\d+)?[^`]*`")
_BY_VALUE = 2
"""The last version of `marshal` that never refers back to an object it has written: equal values, equal bytes."""


@dataclass(frozen=True, slots=True)
class Question:
    """May this principal do this to that?"""

    principal: str
    action: str
    resource_type: str
    resource: str
    context: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def key(self) -> bytes:
        """The whole request, in the bytes of its values: `True` is not `1`. Cheaper than its JSON."""
        parts = (self.principal, self.action, self.resource_type, self.resource, dict(self.context))
        return marshal.dumps(parts, _BY_VALUE)

    @property
    def request(self) -> dict[str, JsonValue]:
        """The whole request, as Cedar takes it."""
        return {
            "principal": {"type": "Agent", "id": self.principal},
            "action": {"type": "Action", "id": self.action},
            "resource": {"type": self.resource_type, "id": self.resource},
            "context": dict(self.context),
        }


class PolicyError(ValueError):
    """A policy set that does not parse or does not fit the schema; `problems` names each place."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class _Note:
    name: str
    ask: Ask | None
    why: str


class Policies:
    """A parsed policy set that answers questions."""

    def __init__(self, digest: str, files: tuple[PolicyFile, ...]) -> None:
        self.digest = digest
        self._decided: OrderedDict[bytes, Decided] = OrderedDict()
        self._schema = cedarpy.Schema.from_str(SCHEMA)
        self._entities = cedarpy.Entities.from_json_str("[]")
        text = "\n".join(file.text for file in files)
        parsed = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        self._notes = {key: _note(key, body) for key, body in parsed.items()}
        self._all = cedarpy.PolicySet.from_str(text)
        firm = {key: body for key, body in parsed.items() if self._notes[key].ask is None}
        self._firm = cedarpy.PolicySet.from_json_str(
            json.dumps({"templates": {}, "staticPolicies": firm, "templateLinks": []})
        )

    def __len__(self) -> int:
        return len(self._notes)

    def decide(self, question: Question) -> Decided:
        """Decide. The whole request is the cache's key."""
        key = question.key
        found = self._decided.get(key)
        if found is None:
            found = self._decided[key] = self._decide(question.request)
            if len(self._decided) > _CACHE:
                self._decided.popitem(last=False)
        return found

    def _decide(self, request: dict[str, JsonValue]) -> Decided:
        result = cedarpy.is_authorized(request, self._all, self._entities, self._schema)
        notes = [self._notes[key] for key in result.diagnostics.reasons]
        names = tuple(note.name for note in notes)
        if result.diagnostics.errors or result.decision == cedarpy.Decision.NoDecision:
            return _deny(
                request,
                names,
                f"undecidable: {'; '.join(map(_without_values, result.diagnostics.errors)) or 'no answer'}",
            )
        if result.decision == cedarpy.Decision.Allow:
            return Decided(decision="allow", policies=names, request=request)
        if not notes:
            return _deny(request, (), "no policy permits it")
        if any(note.ask is None for note in notes) or not self._permitted(request):
            firm = [note for note in notes if note.ask is None]
            return _deny(request, names, *(note.why for note in firm or notes))
        asks = tuple(note.ask for note in notes if note.ask is not None)
        return Decided(decision="ask", policies=names, why=tuple(ask.why for ask in asks), asks=asks, request=request)

    def _permitted(self, request: dict[str, JsonValue]) -> bool:
        result = cedarpy.is_authorized(request, self._firm, self._entities, self._schema)
        return result.decision == cedarpy.Decision.Allow and not result.diagnostics.errors


def _note(key: str, policy: Mapping[str, Mapping[str, str]]) -> _Note:
    annotations = policy.get("annotations", {})
    name = annotations.get("id", key)
    why = annotations.get("why") or f"policy {name!r} forbids it"
    return _Note(name, ask_of(name, why, policy), why)


def _without_values(error: object) -> str:
    """Cedar's error without the values that it quotes: a reason is written as it is, and they are personal."""
    return _QUOTED.sub(lambda found: f"`{found[1] or '…'}`", str(error))


def _deny(request: dict[str, JsonValue], names: tuple[str, ...], *why: str) -> Decided:
    return Decided(decision="deny", policies=names, why=why, request=request)


def check_policies(files: tuple[PolicyFile, ...]) -> int:
    """Validate a policy set; returns how many policies it holds.

    Raises:
        PolicyError: A file does not parse, does not fit the schema, or two policies share an id.
    """
    problems: list[str] = []
    seen: dict[str, str] = {}
    for file in files:
        try:
            parsed = json.loads(cedarpy.policies_to_json_str(file.text))["staticPolicies"]
        except ValueError as error:
            problems.append(f"{file.name}: does not parse: {error}")
            continue
        result = cedarpy.validate_policies(file.text, SCHEMA)
        problems += [f"{file.name}: {error.error}" for error in result.errors]
        for key, body in parsed.items():
            name = body.get("annotations", {}).get("id")
            problems += [f"{file.name}: {name or key}: {wrong}" for wrong in wrong_annotations(body)]
            if name is None:
                problems.append(f"{file.name}: {key} has no @id, so nobody could say which policy decided")
            elif name in seen:
                problems.append(f"{file.name}: the id {name!r} is taken by {seen[name]}")
            else:
                seen[name] = file.name
    if not problems and not seen:
        problems.append("no policy at all: everything would be denied; start with a permit")
    if problems:
        raise PolicyError(problems)
    return len(seen)


class DecisionPoint(InMemory):
    """Follows the published policies and decides by them while they are fresh."""

    def __init__(self, *, staleness_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.position = 0
        self._staleness_s = staleness_s
        self._clock = clock
        self._policies: Policies | None = None
        self._proposed: OrderedDict[tuple[str, str], Policies | tuple[PolicyFile, ...]] = OrderedDict()
        """By tenant and digest; parsed when first used."""
        self._fresh_at = clock()

    @property
    def digest(self) -> str | None:
        """The digest of the policy set in use."""
        return self._policies.digest if self._policies else None

    def apply(self, event: Recorded) -> None:
        """Take in an event of the category `policy`."""
        self.position = event.position
        published = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(published, PoliciesPublished):
            self._policies = Policies(published.digest, published.files)
            self._fresh_at = self._clock()
        elif isinstance(published, PoliciesProposed):
            self._keep(event.envelope.tenant, published)

    def fresh(self) -> Self:
        """One that knows no policies."""
        return type(self)(staleness_s=self._staleness_s, clock=self._clock)

    def hear(self, heartbeat: ServiceStatus) -> None:
        """Take in guardrail's heartbeat: the policies are fresh if they are the ones in force."""
        if heartbeat.policy_position <= self.position:
            self._fresh_at = self._clock()

    def decide(self, question: Question) -> Decided:
        """Allow, ask or deny.

        Raises:
            Unavailable: There are no policies yet, or they may be stale.
        """
        return self._fresh().decide(question)

    def decide_in(self, tenant: str, fork: Fork, question: Question) -> Decided:
        """As `decide`, in a run that was forked: under the set that was proposed for it, if one was.

        Raises:
            Forbidden: That set is not known here, or no longer.
            Unavailable: It has not been read yet, or the policies may be stale.
        """
        in_force = self._fresh()
        if fork.policies is None:
            return in_force.decide(question)
        return self._find(tenant, fork.policies, fork.policies_at).decide(question)

    def _keep(self, tenant: str, proposed: PoliciesProposed) -> None:
        self._proposed[tenant, proposed.digest] = proposed.files
        self._proposed.move_to_end((tenant, proposed.digest))
        if len(self._proposed) > _PROPOSED:
            self._proposed.popitem(last=False)

    def _find(self, tenant: str, digest: str, position: int) -> Policies:
        found = self._proposed.get((tenant, digest))
        if found is None and self.position < position:
            raise Unavailable("the proposed policies have not been read yet", retry_after_s=0.1)
        if found is None:
            raise Forbidden(f"the policies {digest[:12]!r} were never proposed here, or too many were since")
        if not isinstance(found, Policies):
            found = self._proposed[tenant, digest] = Policies(digest, found)
        return found

    def _fresh(self) -> Policies:
        age_s = self._clock() - self._fresh_at
        if self._policies is None:
            raise Unavailable("no policies have been published yet; is guardrail running?", retry_after_s=0.5)
        if age_s > self._staleness_s:
            raise Unavailable(
                f"the policies were last confirmed {age_s:.0f} s ago; is guardrail running?", retry_after_s=1
            )
        return self._policies
