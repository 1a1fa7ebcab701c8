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
_KEPT = 2048


@dataclass(frozen=True, slots=True)
class Handles:
    """A parsed schema, and the groups of its actions: without these entities `action in …` would match nothing."""

    schema: cedarpy.Schema
    entities: cedarpy.Entities


@lru_cache(_KEPT)
def handles(shape: Shape, names: frozenset[str]) -> Handles:
    """What a request of this shape is evaluated with that holds these attributes."""
    schema = cedarpy.Schema.from_json_str(_schema([shape], names))
    return Handles(schema, cedarpy.Entities.from_json_str("[]", schema))


def full_schema(shapes: Iterable[Shape]) -> cedarpy.Schema:
    """What policies are validated against: everything there is."""
    found = [*PLAIN.values(), ANY_TOOL, *shapes]
    return cedarpy.Schema.from_json_str(_schema(found))


def _schema(shapes: Iterable[Shape], names: frozenset[str] | None = None) -> str:
    shapes = list(shapes)
    actions: dict[str, JsonValue] = {INVOKE: {}}
    for shape in shapes:
        for group, above in zip(shape.groups, shape.groups[1:], strict=False):
            actions[group] = {"memberOf": [{"id": above}]}
    actions |= {shape.action: _action(shape, names) for shape in shapes}
    kinds: JsonValue = {name: {} for name in ("Agent", "Tool", "Model", "Namespace", "Run")}
    return json.dumps({"": {"entityTypes": kinds, "actions": actions}})


def _action(shape: Shape, names: frozenset[str] | None) -> JsonValue:
    attributes: dict[str, Type] = {**shape.attributes, NOW: MOMENT}
    if names is not None:
        attributes = {name: kind for name, kind in attributes.items() if name in names}
    return {
        "memberOf": [{"id": group} for group in shape.groups[:1]],
        "appliesTo": {
            "principalTypes": ["Agent"],
            "resourceTypes": [shape.resource],
            "context": {"type": "Record", "attributes": dict(attributes)},
        },
    }
