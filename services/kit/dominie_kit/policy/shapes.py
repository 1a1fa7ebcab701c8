"""The actions that policies speak of: one for each tool version, with its arguments; the others have one each. Pure.

Action::"tool.invoke"        every registered tool
└── Action::"refund"         every version of one
    └── Action::"refund@1"   one version: what is asked
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from pydantic import JsonValue

from dominie_contracts.digests import digest_json
from dominie_contracts.labels import ROLES, roles
from dominie_contracts.tool import ToolSpec
from dominie_kit.policy.types import (
    FLAG,
    MOMENT,
    NUMBER,
    TEXT,
    TEXTS,
    Type,
    inferred,
    is_required,
    optional,
    record_type,
)

INVOKE, WIDEN, ENDORSE = "tool.invoke", "run.widen", "labels.endorse"
NAMED = frozenset({ENDORSE})
"""What a `permit` has to name: one of everything, as it was written before there were these, does not permit it."""
VERSION = "@"
"""Parts a tool's name, which holds none, from its version."""
MIN, UNKNOWN, LINKS = "min", "unknown", "links"
PROVENANCE = (MIN, "untrusted", UNKNOWN, "readers", "outside")
"""What policies are told of where a call's arguments came from."""
_ROLE_TYPES: Mapping[str, Type] = {role: {"amount": NUMBER, "when": MOMENT}.get(role, TEXT) for role in ROLES}
FOUND, CHECKED = "found", "checked"
_CALL: dict[str, Type] = {
    **{name: TEXT for name in ("tenant", "user", "effect", "kind", "version")},
    **{role: optional(kind) for role, kind in _ROLE_TYPES.items()},
    "untrusted": TEXTS,
    UNKNOWN: TEXTS,
    MIN: {"type": "Record", "attributes": {role: optional(NUMBER) for role in ROLES}},
    "readers": optional(TEXTS),
    "outside": optional(TEXTS),
    "undeclared": optional(TEXTS),
    LINKS: TEXTS,
    FOUND: TEXTS,
    CHECKED: TEXTS,
    "plan": optional(TEXT),
    "plan_lacks": optional(TEXT),
}
"""`min`: how far what the arguments of each role were made from can be trusted, 0 to 4; `untrusted`: the roles below
3, and `unknown` those of which no better source has the value at all. `readers`: who may read what the call says,
where that is not anybody; `outside`: who of those that it goes to may not. `undeclared`: the arguments that the tool's
schema does not name. `links`: where what it says leads. `found`, where a policy looks at it: what checks found in the
arguments, and `checked` who looked. `plan`, where the run has one: whether the call is inside of it, and `plan_lacks`
why not."""


@dataclass(frozen=True, slots=True)
class Shape:
    """An action, what it is done to, and the attributes of its context with their types.

    Attributes:
        digest: 16 hex digits of the digest of all this.
    """

    action: str
    groups: tuple[str, ...]
    resource: str
    digest: str
    text: str = field(repr=False)
    """The attributes, as JSON: what tells shapes apart."""

    @property
    def attributes(self) -> dict[str, Type]:
        """The attributes of the context; `arguments` is one where the tool is known."""
        found: dict[str, Type] = json.loads(self.text)
        return found


def _shape(action: str, groups: tuple[str, ...], resource: str, attributes: Mapping[str, Type]) -> Shape:
    text = json.dumps(attributes, sort_keys=True, separators=(",", ":"))
    digest = digest_json({"action": action, "groups": list(groups), "resource": resource, "attributes": text})
    return Shape(action, groups, resource, digest[:16], text)


_OWN = {"tenant": TEXT, "user": TEXT}
PLAIN: Mapping[str, Shape] = {
    shape.action: shape
    for shape in (
        _shape("tool.begin", (), "Tool", _CALL),
        _shape("model.chat", (), "Model", {**_OWN, "tools": TEXTS, "priority": TEXT}),
        _shape("memory.remember", (), "Namespace", _OWN),
        _shape("memory.recall", (), "Namespace", _OWN),
        _shape(
            WIDEN,
            (),
            "Run",
            {**_OWN, "tools": TEXTS, "models": TEXTS, "namespaces": TEXTS, "amount": optional(NUMBER)},
        ),
        _shape(
            ENDORSE,
            (),
            "Run",
            {**_OWN, "agent": TEXT, "groups": TEXTS, "own": FLAG, "was": NUMBER, "becomes": NUMBER, "scope": TEXT},
        ),
    )
}
"""The actions that no tool makes. Of a widening `amount` is what the run may spend then, in cents. Who endorses is the
principal: in these `groups`, and `own` where the run is theirs; `was` and `becomes` are 0 to 4."""
ANY_TOOL = _shape(f"{INVOKE}{VERSION}", (INVOKE,), "Tool", _CALL)
"""Stands for tools that are not known yet where policies are checked."""


def shape_of(spec: ToolSpec) -> Shape:
    """The action of a tool version. A role that is always told need not be asked for with `has`."""
    schema, marked = spec.input_schema, roles(spec.input_schema)
    arguments = record_type(schema)
    known = arguments["attributes"]
    assert isinstance(known, dict)
    told: Type = {"type": "Record", "attributes": {role: NUMBER for role in sorted(set(marked.values()))}}
    found = {**_CALL, MIN: told, "arguments": arguments}
    marks = Counter(marked.values())
    for name, role in marked.items():
        if role not in ("text", "amount") and marks[role] > 1:
            continue  # of several none is told
        declared = known.get(name)
        text = TEXT if role == "when" else _ROLE_TYPES[role]
        if isinstance(declared, dict) and declared.get("type") == text["type"] and is_required(schema, name):
            found[role] = _ROLE_TYPES[role]
    return _shape(f"{spec.name}{VERSION}{spec.version}", _groups(spec.name), "Tool", found)


@lru_cache(4096)
def _untyped(name: str, version: str) -> Shape:
    return _shape(f"{name}{VERSION}{version}", _groups(name), "Tool", _CALL)


def shape_for(action: str, resource: str, context: Mapping[str, JsonValue]) -> Shape | None:
    """The action of a request whose tool is not at hand, typed as its arguments show; None: there is none."""
    if action in PLAIN:
        return PLAIN[action]
    name, at, version = action.partition(VERSION)
    if action == INVOKE:
        name, at, version = resource, VERSION, str(context.get("version", ""))
    if not at or name != resource:
        return None
    arguments = context.get("arguments")
    if not isinstance(arguments, dict):
        return _untyped(name, version)
    found = {**_CALL, MIN: inferred(context.get(MIN, {})), "arguments": inferred(arguments)}
    return _shape(f"{name}{VERSION}{version}", _groups(name), "Tool", found)


def is_group(action: str) -> bool:
    """Whether an action is a group of others, so that nothing asks for it itself."""
    return action not in PLAIN and VERSION not in action


def variants(shapes: Iterable[Shape]) -> list[list[Shape]]:
    """Sets of shapes that hold each once: two tenants may have different tools of one name and version."""
    named: dict[str, dict[str, Shape]] = {}
    for shape in shapes:
        named.setdefault(shape.action, {})[shape.digest] = shape
    most = max((len(found) for found in named.values()), default=1)
    rows = [list(found.values()) for found in named.values()]
    return [[row[min(number, len(row) - 1)] for row in rows] for number in range(most)]


def _groups(name: str) -> tuple[str, ...]:
    """The tool's own group, unless its name is that of an action already."""
    return (INVOKE,) if name in PLAIN or name == INVOKE else (name, INVOKE)
