"""A schema's parts: what following them costs, and which one a value does not fit."""

from collections.abc import Iterable, Sequence
from math import inf

from pydantic import JsonValue
from pydantic_core import to_json

from dominie_contracts.labels import ANNOTATION
from dominie_tool.adapters.apart_main import referred

NOTES = {"title", "description", "default", "examples", "$comment", "$schema", "$defs", ANNOTATION}
"""Keywords that let every value pass."""
_DEAR = {
    "uniqueItems",
    "pattern",
    "patternProperties",
    "multipleOf",
    "$id",
    "$dynamicRef",
    "unevaluatedItems",
    "unevaluatedProperties",
}
"""Keywords that can take longer than the size of the value and of the schema says."""
_DEAR_PART: JsonValue = {"$dynamicRef": "#"}
_MOST = 200
_CLIP = 200


def weight(schema: dict[str, JsonValue]) -> float:
    """How many parts a schema has, each reference followed; infinite where it is dear, recursive or large."""
    left = _MOST

    def visit(part: JsonValue) -> bool:
        nonlocal left
        left -= 1
        if left < 0:
            return False
        if isinstance(part, list):
            return all(map(visit, part))
        if not isinstance(part, dict):
            return True
        if part.keys() & _DEAR or ("$ref" in part and not visit(referred(schema, part["$ref"]) or _DEAR_PART)):
            return False
        return all(visit(inner) for word, inner in part.items() if word not in NOTES)

    return _MOST - left if visit(schema) else inf


def values(value: JsonValue, most: int) -> int:
    """How many values a value holds, itself among them; counted no further than a little above `most`."""
    found, left = 0, [value]
    while left and found <= most:
        part = left.pop()
        found += 1
        if isinstance(part, dict):
            left.extend(part.values())
        elif isinstance(part, list):
            left.extend(part)
    return found


def misfit(place: Iterable[str | int], path: Sequence[str | int], schema: JsonValue) -> str:
    """Where a value does not fit, and which keyword it is; never the value, which may be large."""
    where = "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place)
    wanted = to_json(_at(schema, path)).decode()
    wanted = wanted if len(wanted) <= _CLIP else wanted[: _CLIP - 1] + "…"
    return f'{where}: does not fit "{path[-1] if path else "false"}": {wanted}'


def _at(schema: JsonValue, path: Iterable[str | int]) -> JsonValue:
    for step in path:
        if isinstance(schema, dict):
            schema = schema.get(str(step))
        elif isinstance(schema, list) and isinstance(step, int) and step < len(schema):
            schema = schema[step]
    return schema
