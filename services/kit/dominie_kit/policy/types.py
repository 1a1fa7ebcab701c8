"""A tool's arguments as Cedar types, and their values as Cedar takes them. Pure.

Text, whole numbers, booleans, lists and objects of these keep their type. What Cedar has no type for (fractions, what
may be of several types, free-form objects) is its JSON text: policies see every argument, bound by name.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import chain

from pydantic import JsonValue

Type = dict[str, JsonValue]
Schema = Mapping[str, JsonValue]
TEXT: Type = {"type": "String"}
NUMBER: Type = {"type": "Long"}
FLAG: Type = {"type": "Boolean"}
TEXTS: Type = {"type": "Set", "element": TEXT}
MOMENT: Type = {"type": "Extension", "name": "datetime"}
_PLAIN: dict[JsonValue, Type] = {"string": TEXT, "integer": NUMBER, "boolean": FLAG}
_DEPTH = 5
_ESCAPES = "__"
"""Names that begin so are Cedar's own way to write entities and calls in JSON."""


def record_type(schema: Schema) -> Type:
    """The Cedar record of an object's JSON Schema."""
    return _record(schema, schema, _DEPTH)


def is_required(schema: Schema, name: str) -> bool:
    """Whether a property is always there, and never null."""
    attributes = record_type(schema)["attributes"]
    assert isinstance(attributes, dict)
    found = attributes.get(name)
    return isinstance(found, dict) and found.get("required") is True


def optional(kind: Type) -> Type:
    """The same, of an attribute that may be missing."""
    return {**kind, "required": False}


def value_of(value: JsonValue, kind: Type) -> JsonValue:
    """A value as Cedar takes it; one that does not fit stays as it is, and the schema refuses it."""
    match kind["type"]:
        case "String":
            return value if isinstance(value, str) else _text(value)
        case "Long" if isinstance(value, float) and value.is_integer():
            return int(value)
        case "Set" if isinstance(value, list):
            element = kind["element"]
            assert isinstance(element, dict)
            return [value_of(each, element) for each in value]
        case "Record" if isinstance(value, dict):
            return {name: value_of(part, kind) for name, part, kind in _parts(value, kind)}
        case _:
            return value


def undeclared(value: JsonValue, kind: Type, path: str = "") -> Iterator[str]:
    """What of an object its type does not name, so that no policy sees it: `note`, `address/extra`."""
    if kind["type"] == "Record" and isinstance(value, dict):
        known = _attributes(kind)
        yield from (path + name for name in value if name not in known)
        yield from chain.from_iterable(
            undeclared(part, kind, f"{path}{name}/") for name, part, kind in _parts(value, kind)
        )
    elif kind["type"] == "Set" and isinstance(value, list):
        element = kind["element"]
        assert isinstance(element, dict)
        yield from chain.from_iterable(undeclared(each, element, path) for each in value)


def inferred(value: JsonValue) -> Type:
    """The type of a value that was made by `value_of`: what it was declared as, but for what is not there."""
    if isinstance(value, dict):
        return {"type": "Record", "attributes": {name: inferred(part) for name, part in value.items()}}
    if isinstance(value, list):
        return {"type": "Set", "element": inferred(value[0]) if value else TEXT}
    return FLAG if isinstance(value, bool) else NUMBER if isinstance(value, int) else TEXT


def _parts(value: Mapping[str, JsonValue], kind: Type) -> Iterator[tuple[str, JsonValue, Type]]:
    for name, inner in _attributes(kind).items():
        if value.get(name) is not None:
            yield name, value[name], inner


def _attributes(kind: Type) -> dict[str, Type]:
    found = kind["attributes"]
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]  # each is a type, as `_record` made it


def _record(schema: Schema, root: Schema, depth: int) -> Type:
    properties, required = schema.get("properties"), schema.get("required")
    attributes: dict[str, JsonValue] = {}
    for name, part in properties.items() if isinstance(properties, dict) else ():
        if name.startswith(_ESCAPES):
            continue
        kind, nullable = _type(part, root, depth - 1)
        always = isinstance(required, list) and name in required and not nullable
        attributes[name] = {**kind, "required": always}
    return {"type": "Record", "attributes": attributes}


def _type(schema: JsonValue, root: Schema, depth: int) -> tuple[Type, bool]:
    """The type of a JSON Schema, and whether it may be null."""
    found = _resolved(schema, root)
    if not found or depth <= 0:
        return TEXT, True
    several = found.get("anyOf", found.get("oneOf"))
    if isinstance(several, list):
        return _one_of([each for each in several if each != {"type": "null"}], len(several), root, depth)
    word = found.get("type")
    if isinstance(word, list):
        named: list[JsonValue] = [{**found, "type": each} for each in word if each != "null"]
        return _one_of(named, len(word), root, depth)
    if isinstance(word, str) and word in _PLAIN:
        return _PLAIN[word], False
    return _compound(found, root, depth), word not in ("array", "object", "number")


def _one_of(several: list[JsonValue], of: int, root: Schema, depth: int) -> tuple[Type, bool]:
    if len(several) != 1:
        return TEXT, True
    kind, nullable = _type(several[0], root, depth - 1)
    return kind, nullable or of > 1


def _compound(found: Schema, root: Schema, depth: int) -> Type:
    if found.get("type") == "array" and isinstance(found.get("items"), dict) and "prefixItems" not in found:
        kind, nullable = _type(found["items"], root, depth - 1)
        return TEXT if nullable else {"type": "Set", "element": kind}
    if found.get("type") == "object" and found.get("properties"):
        return _record(found, root, depth)
    return TEXT


def _resolved(schema: JsonValue, root: Schema) -> Schema:
    """A schema, or what it refers to within its document; empty where that cannot be found."""
    for _ in range(_DEPTH):
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str):
            return schema
        definitions = root.get("$defs")
        name = reference.removeprefix("#/$defs/")
        schema = definitions.get(name) if isinstance(definitions, dict) else None
    return {}


def _text(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
