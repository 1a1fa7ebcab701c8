"""Where values came from: the first rule of provenance.

A tool's output schema says which parts of its results are *records*; everything else is untrusted. An argument counts
as a record only if its whole value stands in a record leaf of the same run. (A later issue makes labels deep.)
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Literal, get_args

from pydantic import JsonValue

from dominie_contracts.action import Integrity
from dominie_contracts.artifact import MARK, reference
from dominie_contracts.problems import Invalid

ANNOTATION = "x-dominie"
Role = Literal["amount", "recipient", "object", "when", "code"]
ROLES: tuple[Role, ...] = get_args(Role)
MAX_AMOUNT = 2**53 - 1
Schema = Mapping[str, JsonValue]


def leaves(value: JsonValue, pointer: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Every leaf of a JSON value with its pointer (RFC 6901); what stands for an artifact is one."""
    if isinstance(value, dict) and not _is_artifact(value):
        for key, part in value.items():
            yield from leaves(part, f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, f"{pointer}/{index}")
    else:
        yield pointer, value


def label_result(result: JsonValue, schema: Schema) -> dict[str, Integrity]:
    """The leaves of a result that its schema marks as records; the rest is untrusted and not named."""
    return dict(_label(result, schema, "untrusted", ""))


def _label(value: JsonValue, schema: Schema, above: Integrity, pointer: str) -> Iterator[tuple[str, Integrity]]:
    marks = schema.get(ANNOTATION)
    found = marks.get("integrity") if isinstance(marks, dict) else None
    here: Integrity = above if found is None else "record" if found == "record" else "untrusted"
    if isinstance(value, dict) and not _is_artifact(value):
        parts = schema.get("properties")
        for key, part in value.items():
            inner = parts.get(key) if isinstance(parts, dict) else None
            path = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
            yield from _label(part, inner if isinstance(inner, dict) else {}, here, path)
    elif isinstance(value, list):
        items = schema.get("items")
        for index, part in enumerate(value):
            yield from _label(part, items if isinstance(items, dict) else {}, here, f"{pointer}/{index}")
    elif here == "record":
        yield pointer, here


def record_values(result: JsonValue, labels: Mapping[str, Integrity]) -> set[tuple[str, str]]:
    """The values of a result's record leaves that can vouch for an argument: text and numbers, with their type."""
    return {_typed(value) for pointer, value in leaves(result) if labels.get(pointer) == "record" and _vouches(value)}


def roles(schema: Schema) -> dict[str, Role]:
    """Argument to role, as the input schema marks them."""
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    found: dict[str, Role] = {}
    for name, part in properties.items():
        marks = part.get(ANNOTATION) if isinstance(part, dict) else None
        role = marks.get("role") if isinstance(marks, dict) else None
        if role in ROLES:
            found[name] = role
    return found


def wrong_marks(schema: Schema) -> Iterator[str]:
    """What of a schema's marks means nothing: an unknown word, or a role that no argument as a whole has."""
    properties = schema.get("properties")
    arguments = list(properties.values()) if isinstance(properties, dict) else []
    for part in _parts(dict(schema)):
        marks = part.get(ANNOTATION, {})
        if not isinstance(marks, dict) or marks.keys() - {"role", "integrity"}:
            yield f"{ANNOTATION} knows `role` and `integrity`, not {marks!r}"
        elif marks.get("role") not in (None, *ROLES):
            yield f"there is no role {marks['role']!r}, only {', '.join(ROLES)}"
        elif marks.get("integrity") not in (None, *get_args(Integrity)):
            yield f"there is no integrity {marks['integrity']!r}, only {', '.join(get_args(Integrity))}"
        elif "role" in marks and not any(part is argument for argument in arguments):
            yield f"the role {marks['role']!r} is of an argument as a whole, not of a part of one"


def _parts(schema: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """A schema and every schema in it; a property of the mark's name is no mark."""
    if isinstance(schema, list):
        for each in schema:
            yield from _parts(each)
    if not isinstance(schema, dict):
        return
    yield schema
    for word, inner in schema.items():
        named = word in ("properties", "$defs", "patternProperties", "dependentSchemas")
        if word not in (ANNOTATION, "default", "examples", "const", "enum"):
            yield from _parts(list(inner.values()) if named and isinstance(inner, dict) else inner)


def label_arguments(
    arguments: Mapping[str, JsonValue], names: Iterable[str], records: set[tuple[str, str]]
) -> dict[str, Integrity]:
    """Integrity of each named argument: a record if each of its leaves, whole, is one of the run's records."""
    return {name: "record" if _known(arguments[name], records) else "untrusted" for name in names if name in arguments}


def amount(arguments: Mapping[str, JsonValue], marked: Mapping[str, Role]) -> int | None:
    """The sum of the arguments with the role `amount`, in minor units; None where there is none.

    Raises:
        Invalid: One is no whole number from 0 to 2^53 - 1.
    """
    values = [arguments[name] for name, role in marked.items() if role == "amount" and name in arguments]
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_AMOUNT:
            raise Invalid(f"an amount must be a whole number of minor units, 0 or more, not {value!r}")
    total = sum(value for value in values if isinstance(value, int))
    if total > MAX_AMOUNT:
        raise Invalid("the amounts add up to more than can be counted")
    return total if values else None


def _known(value: JsonValue, records: set[tuple[str, str]]) -> bool:
    parts = [part for _, part in leaves(value)]
    return bool(parts) and all(_vouches(part) and _typed(part) in records for part in parts)


def _vouches(value: JsonValue) -> bool:
    return value not in ("", None) and not isinstance(value, bool)


def _is_artifact(value: dict[str, JsonValue]) -> bool:
    return MARK in value and reference(value) is not None


def _typed(value: JsonValue) -> tuple[str, str]:
    if isinstance(value, dict):
        return "artifact", str(value.get(MARK))
    return ("text", value) if isinstance(value, str) else ("number", repr(value))
