"""The Cedar schema of shapes, and its handles, which are kept."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import cedarpy
from pydantic import JsonValue

from dominie_kit.policy.shapes import ANY_TOOL, INVOKE, PLAIN, Shape
from dominie_kit.policy.types import MOMENT, Type

NOW, ARGUMENTS = "now", "arguments"
"""What a request holds only where a policy looks at it: the clock costs as much as all the rest, arguments may be
large."""
_KEPT = 2048


@dataclass(frozen=True, slots=True)
class Handles:
    """A parsed schema, and the groups of its actions: without these entities `action in …` would match nothing."""

    schema: cedarpy.Schema
    entities: cedarpy.Entities


@lru_cache(_KEPT)
def handles(shape: Shape, reads: frozenset[str]) -> Handles:
    """What a request of this shape is evaluated with; `reads` names those of `NOW` and `ARGUMENTS` that it holds."""
    schema = cedarpy.Schema.from_json_str(_schema([shape], reads))
    return Handles(schema, cedarpy.Entities.from_json_str("[]", schema))


def full_schema(shapes: Iterable[Shape]) -> cedarpy.Schema:
    """What policies are validated against: everything there is."""
    found = [*PLAIN.values(), ANY_TOOL, *shapes]
    return cedarpy.Schema.from_json_str(_schema(found, frozenset((NOW, ARGUMENTS))))


def _schema(shapes: Iterable[Shape], reads: frozenset[str]) -> str:
    shapes = list(shapes)
    actions: dict[str, JsonValue] = {INVOKE: {}}
    for shape in shapes:
        for group, above in zip(shape.groups, shape.groups[1:], strict=False):
            actions[group] = {"memberOf": [{"id": above}]}
    actions |= {shape.action: _action(shape, reads) for shape in shapes}
    kinds: JsonValue = {name: {} for name in ("Agent", "Tool", "Model", "Namespace")}
    return json.dumps({"": {"entityTypes": kinds, "actions": actions}})


def _action(shape: Shape, reads: frozenset[str]) -> JsonValue:
    attributes: dict[str, Type] = shape.attributes
    if ARGUMENTS not in reads:
        attributes.pop(ARGUMENTS, None)
    if NOW in reads:
        attributes[NOW] = MOMENT
    return {
        "memberOf": [{"id": group} for group in shape.groups[:1]],
        "appliesTo": {
            "principalTypes": ["Agent"],
            "resourceTypes": [shape.resource],
            "context": {"type": "Record", "attributes": dict(attributes)},
        },
    }
