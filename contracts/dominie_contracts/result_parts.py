"""Which part of an output schema a part of a result has, and so which marks count (decision 0030). Pure.

It is found by `properties` and `items` alone. On the way a `$ref` to the schema itself or to one of its `$defs` is
followed, and an `anyOf` or `oneOf` of one part and `null`: an optional value.
"""

from collections.abc import Iterator
from itertools import pairwise
from typing import get_args

from pydantic import JsonValue

from dominie_contracts.labels import ANNOTATION, Schema, marks_of, parts_of
from dominie_contracts.provenance import Integrity, Label, join

_STEP = {"$ref", "anyOf", "oneOf"}
_STEPS = 16
_DEFINED = "#/$defs/"


def resolved(schema: JsonValue, root: Schema) -> Schema | None:
    """What a value looks like, with the marks on the way to it; None where that leads nowhere.

    What a reference says itself is nearer than what it refers to; what is optional, than that it is.
    """
    if isinstance(schema, dict) and not schema.keys() & _STEP:
        return schema
    way = _way(schema, root)
    if not way:
        return None
    marks = marks_of(way[0])
    for before, part in pairwise(way):
        marks = {**marks_of(part), **marks} if "$ref" in before else {**marks, **marks_of(part)}
    return {**way[-1], ANNOTATION: dict(marks)} if marks else way[-1]


def marked(marks: Schema) -> Label:
    """What marks say, but for an author; what they do not name is not made worse."""
    named = marks.get("integrity", "user")
    integrity: Integrity = next((level for level in get_args(Integrity) if level == named), "untrusted")
    readers = marks.get("readers")
    return Label(
        integrity=integrity, readers=tuple(sorted(set(map(str, readers)))) if isinstance(readers, list) else None
    )


def worst(schema: Schema, root: Schema, label: Label) -> Label:
    """Of a part of a result that nobody looks into: its own label joined with all that any mark below it says."""
    return join((label, *(_least(part, root) for part in _below(schema, root))))


def unread_marks(schema: Schema) -> Iterator[str]:
    """The marks of an output schema that stand where no part of a result is looked for."""
    root = dict(schema)
    read = _read(root)
    for part in parts_of(root):
        marks = marks_of(part)
        if id(part) not in read and marks.keys() & {"integrity", "readers", "author", "of", "makes"}:
            yield f"a mark counts on a property, on `items` or on what they refer to, not where {dict(marks)!r} is"


def items(schema: Schema) -> JsonValue:
    """What every item of a list looks like; None where some are looked at apart from the others."""
    return None if "prefixItems" in schema else schema.get("items")


def _way(schema: JsonValue, root: Schema) -> list[dict[str, JsonValue]]:
    """A part, what it refers to, and so on to what a value looks like; empty where that leads nowhere."""
    way: list[dict[str, JsonValue]] = []
    while isinstance(schema, dict) and len(way) < _STEPS:
        way.append(schema)
        if "$ref" in schema:
            schema = _referred(schema["$ref"], root)
        elif (only := _optional(schema)) is not None:
            schema = only
        else:
            return way
    return []


def _referred(reference: JsonValue, root: Schema) -> JsonValue:
    definitions = root.get("$defs")
    if reference == "#":
        return root if isinstance(root, dict) else dict(root)
    if not isinstance(reference, str) or not reference.startswith(_DEFINED) or not isinstance(definitions, dict):
        return None
    return definitions.get(reference.removeprefix(_DEFINED))


def _optional(schema: dict[str, JsonValue]) -> dict[str, JsonValue] | None:
    """The one part that a choice leaves beside null; None where there is no such choice, or more than that."""
    choices = [schema[word] for word in ("anyOf", "oneOf") if word in schema]
    if schema.keys() & {"properties", "items"} or len(choices) != 1 or not isinstance(choices[0], list):
        return None
    left = [each for each in choices[0] if not (isinstance(each, dict) and each.get("type") == "null")]
    return left[0] if len(left) == 1 and isinstance(left[0], dict) else None


def _least(part: dict[str, JsonValue], root: Schema) -> Label:
    marks = marks_of(part)
    said = marked(marks)
    nobody_knows = "author" in marks or not _way(part, root)
    return said.model_copy(update={"integrity": "untrusted"}) if nobody_knows else said


def _below(schema: Schema, root: Schema) -> list[dict[str, JsonValue]]:
    """Every part inside a schema, and what these refer to."""
    found: dict[int, dict[str, JsonValue]] = {}
    left = list(parts_of(dict(schema)))[1:]
    while left:
        part = left.pop()
        if id(part) not in found:
            found[id(part)] = part
            left += [inner for step in _way(part, root)[1:] for inner in parts_of(step)]
    return list(found.values())


def _read(root: dict[str, JsonValue]) -> set[int]:
    """The parts of a schema whose marks count for some part of a result, by identity."""
    found: set[int] = set()
    left: list[JsonValue] = [root]
    while left:
        way = _way(left.pop(), root)
        if way and not found.issuperset(map(id, way)):
            found.update(map(id, way))
            properties = way[-1].get("properties")
            left += [*properties.values()] if isinstance(properties, dict) else []
            left.append(items(way[-1]))
    return found
