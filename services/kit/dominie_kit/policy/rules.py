"""Policies as Cedar parses them: what each is called, what it reads, and where it can apply."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cedarpy
from pydantic import JsonValue

from dominie_contracts.action import Ask, Limit
from dominie_contracts.guardrail import PolicyDiff, PolicyFile
from dominie_kit.checks.lists import is_list
from dominie_kit.policy.asks import ask_of, limit_of
from dominie_kit.policy.shapes import NAMED, Shape, is_group

TOOLS = "tools.json"
"""A file of a policy set that describes tools, as `dominie tool list --json` prints them."""
EVERYTHING = "*"
_CONTEXT: JsonValue = {"Var": "context"}
_ASKS_FOR = ("contains", "containsAll", "containsAny")
Body = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy.

    Attributes:
        key: What Cedar calls it here.
        name: Its `@id`.
        ask: Who is asked instead of denying.
        limit: What calls may have together before it denies.
        reads: The attributes of the context that it looks at; `*` where that cannot be told.
    """

    key: str
    name: str
    ask: Ask | None
    why: str
    file: str
    body: Body
    reads: frozenset[str]
    limit: Limit | None = None

    @property
    def annotations(self) -> Mapping[str, JsonValue]:
        """What stands before it, `@id("…")`."""
        found = self.body.get("annotations")
        return found if isinstance(found, dict) else {}

    @property
    def firm(self) -> bool:
        """Whether it holds as it stands: it neither asks nor limits."""
        return self.ask is None and self.limit is None

    @property
    def forbids(self) -> bool:
        """Whether it is a `forbid`."""
        return self.body.get("effect") == "forbid"

    @property
    def text(self) -> str:
        """It, as Cedar writes it."""
        return cedarpy.format_policies(cedarpy.policies_from_json_str(policy_json([self]))).strip()


def read_rules(file: PolicyFile, first: int = 0) -> list[Rule]:
    """The policies of a file.

    Raises:
        ValueError: It does not parse, or holds a template.
    """
    if file.name == TOOLS or is_list(file.name):
        return []
    parsed = json.loads(cedarpy.policies_to_json_str(file.text))
    if parsed["templates"]:
        raise ValueError("a policy with a slot (?principal, ?resource) is a template, and decides nothing")
    return [_rule(f"policy{first + at}", file.name, body) for at, body in enumerate(parsed["staticPolicies"].values())]


def read_set(files: tuple[PolicyFile, ...]) -> list[Rule]:
    """The policies of a set, each with a key of its own.

    Raises:
        ValueError: A file does not parse.
    """
    found = list[Rule]()
    for file in files:
        found += read_rules(file, len(found))
    return found


def diff(before: tuple[PolicyFile, ...], after: tuple[PolicyFile, ...]) -> PolicyDiff:
    """What is new, other or gone in a set, by the policies' ids; what stands around them does not count."""
    old, new = _bodies(before), _bodies(after)
    return PolicyDiff(
        added=tuple(sorted(new.keys() - old.keys())),
        changed=tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        removed=tuple(sorted(old.keys() - new.keys())),
    )


def _bodies(files: tuple[PolicyFile, ...]) -> dict[str, Body]:
    """Policies by their ids; none of a set that an older version took and this one cannot read."""
    try:
        return {rule.name: rule.body for rule in read_set(files)}
    except ValueError:
        return {}


def policy_json(rules: list[Rule]) -> str:
    """Policies as Cedar's JSON."""
    return json.dumps({"templates": {}, "templateLinks": [], "staticPolicies": {rule.key: rule.body for rule in rules}})


def applies(rule: Rule, shape: Shape, resource: str) -> bool:
    """Whether a policy's head fits: if it does not, the policy says nothing, and is not asked."""
    head = rule.body["action"]
    named = rule.forbids or shape.action not in NAMED or _is_named(head)
    return named and _fits(head, {shape.action, *shape.groups}) and _names(rule.body["resource"], shape, resource)


def nodes(tree: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """Every object in a policy's tree."""
    if isinstance(tree, dict):
        yield tree
        for part in tree.values():
            yield from nodes(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from nodes(part)


def entity_of(tree: JsonValue) -> tuple[str, str] | None:
    """Type and id, where an entity is named: `Action::"refund"`."""
    found = tree.get("__entity", tree) if isinstance(tree, dict) else None
    kind, id_ = (found.get("type"), found.get("id")) if isinstance(found, dict) else (None, None)
    return (kind, id_) if isinstance(kind, str) and isinstance(id_, str) else None


def path_of(tree: JsonValue) -> tuple[str, ...] | None:
    """`context.arguments.order` is `("arguments", "order")`; None for what is no attribute of the context."""
    if tree == _CONTEXT:
        return ()
    access = tree.get(".") if isinstance(tree, dict) else None
    above = path_of(access["left"]) if isinstance(access, dict) else None
    return None if above is None or not isinstance(access, dict) else (*above, str(access["attr"]))


def looks(body: Body) -> Iterator[tuple[str, ...]]:
    """The attributes of the context that a policy looks at or asks for, each by its path."""
    for node in nodes(body):
        for word in (".", "has"):
            access = node.get(word)
            if isinstance(access, dict) and "attr" in access:
                above = path_of(access["left"])
                if above is not None:
                    yield (*above, str(access["attr"]))


def seeks(body: Body, name: str) -> frozenset[str]:
    """The texts that a policy asks a set of the context for, `contains("…")`; `*` where it does more with that set."""
    asked, found = 0, frozenset[str]()
    for node in nodes(body):
        for word in _ASKS_FOR:
            sides = node.get(word)
            if isinstance(sides, dict) and path_of(sides["left"]) == (name,):
                texts = _literals(sides["right"])
                asked, found = asked + (texts is not None), found | (texts or frozenset())
    looked = sum(1 for node in nodes(body) if path_of(node) == (name,))
    return found if looked == asked and EVERYTHING not in _reads(body) else found | {EVERYTHING}


def _literals(tree: JsonValue) -> frozenset[str] | None:
    """A text, or a set of texts; None for anything else."""
    if not isinstance(tree, dict):
        return None
    several = tree.get("Set", [tree])
    texts = [each.get("Value") for each in several if isinstance(each, dict)] if isinstance(several, list) else []
    return frozenset(text for text in texts if isinstance(text, str)) if _all_text(texts, several) else None


def _all_text(texts: list[JsonValue], several: JsonValue) -> bool:
    return isinstance(several, list) and len(texts) == len(several) and all(isinstance(text, str) for text in texts)


def _rule(key: str, file: str, body: Body) -> Rule:
    notes = body.get("annotations")
    told = notes if isinstance(notes, dict) else {}
    name, why = (str(told[word]) if told.get(word) else None for word in ("id", "why"))
    named = name or key
    reason = why or f"policy {named!r} forbids it"
    whole = dict(body) | {"action": _grouped(body["action"])}
    return Rule(
        key, named, ask_of(named, reason, body), reason, file, whole, _reads(body), limit_of(named, reason, body)
    )


def _grouped(head: JsonValue) -> JsonValue:
    """`action == Action::"tool.invoke"` means the group: no request asks for a group itself, so it would never hold."""
    if isinstance(head, dict) and head.get("op") == "==":
        named = entity_of(head.get("entity"))
        if named is not None and is_group(named[1]):
            return {**head, "op": "in"}
    return head


def _reads(body: Body) -> frozenset[str]:
    found = {path[0] for path in looks(body)}
    seen = sum(1 for node in nodes(body) if node == _CONTEXT)
    direct = sum(1 for node in nodes(body) for word in (".", "has") if _of_context(node.get(word)))
    return frozenset(found if seen == direct else {EVERYTHING})


def _of_context(access: JsonValue) -> bool:
    return isinstance(access, dict) and access.get("left") == _CONTEXT


def _is_named(head: JsonValue) -> bool:
    """Whether a head says which actions it is about."""
    return isinstance(head, dict) and head.get("op") != "All"


def _fits(head: JsonValue, ids: set[str]) -> bool:
    assert isinstance(head, dict)
    several = head.get("entities", [head["entity"]] if "entity" in head else None)
    return not isinstance(several, list) or any(
        named is not None and named[1] in ids for named in map(entity_of, several)
    )


def _names(head: JsonValue, shape: Shape, resource: str) -> bool:
    assert isinstance(head, dict)
    return head.get("op") != "==" or entity_of(head.get("entity")) == (shape.resource, resource)
