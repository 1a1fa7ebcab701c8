"""What a tool's schemas say of its arguments and results: `x-dominie` marks (decision 0030). Pure.

An argument has a `role`, and an amount a `unit`. Any part of a result has an `integrity`, its `readers`, and an
`author`: the name of the property beside it that says who wrote it.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Literal, get_args

from pydantic import JsonValue

from dominie_contracts.artifact import MARK, reference
from dominie_contracts.problems import Invalid
from dominie_contracts.provenance import Integrity
from dominie_contracts.typed import Unit

ANNOTATION = "x-dominie"
Role = Literal["amount", "recipient", "object", "when", "code", "text"]
ROLES: tuple[Role, ...] = get_args(Role)
MAX_AMOUNT = 2**53 - 1
MAX_READERS = 32
Schema = Mapping[str, JsonValue]
_NAMED = ("properties", "$defs", "patternProperties", "dependentSchemas")
_MARKS = dict.fromkeys(("role", "unit", "integrity", "readers", "author", "of", "makes"))


def leaves(value: JsonValue, pointer: str = "") -> Iterator[tuple[str, JsonValue]]:
    """Every leaf of a JSON value with its pointer (RFC 6901); what stands for an artifact is one."""
    if isinstance(value, dict) and not is_artifact(value):
        for key, part in value.items():
            yield from leaves(part, f"{pointer}/{escaped(key)}")
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from leaves(part, f"{pointer}/{index}")
    else:
        yield pointer, value


def escaped(key: str) -> str:
    """A key as a part of a pointer."""
    return key.replace("~", "~0").replace("/", "~1")


def is_artifact(value: JsonValue) -> bool:
    """Whether it stands for an artifact."""
    return isinstance(value, dict) and MARK in value and reference(value) is not None


def marks_of(schema: JsonValue | Schema) -> Mapping[str, JsonValue]:
    """The marks of one schema."""
    found = schema.get(ANNOTATION) if isinstance(schema, Mapping) else None
    return found if isinstance(found, dict) else {}


def roles(schema: Schema) -> dict[str, Role]:
    """Argument to role, as the input schema marks them."""
    found: dict[str, Role] = {}
    for name, part in _arguments(schema).items():
        role = marks_of(part).get("role")
        if role in ROLES:
            found[name] = role
    return found


def units(schema: Schema) -> dict[str, Unit]:
    """The unit of each amount: `minor`, unless the input schema says `major`."""
    marked = {name: marks_of(part) for name, part in _arguments(schema).items()}
    return {
        name: "major" if marks.get("unit") == "major" else "minor"
        for name, marks in marked.items()
        if marks.get("role") == "amount"
    }


def _arguments(schema: Schema) -> Mapping[str, JsonValue]:
    found = schema.get("properties")
    return found if isinstance(found, dict) else {}


def wrong_marks(schema: Schema) -> Iterator[str]:
    """What of a schema's marks means nothing: an unknown word, or a role that no argument as a whole has."""
    arguments = list(_arguments(schema).values())
    beside = {id(part): names for names, part in _properties(dict(schema))}
    for part in parts_of(dict(schema)):
        marks = part.get(ANNOTATION, {})
        if not isinstance(marks, dict) or marks.keys() - _MARKS.keys():
            yield f"{ANNOTATION} knows {', '.join(_MARKS)}, not {marks!r}"
        elif marks.get("role") not in (None, *ROLES):
            yield f"there is no role {marks['role']!r}, only {', '.join(ROLES)}"
        elif marks.get("integrity") not in (None, *get_args(Integrity)):
            yield f"there is no integrity {marks['integrity']!r}, only {', '.join(get_args(Integrity))}"
        elif "role" in marks and not any(part is argument for argument in arguments):
            yield f"the role {marks['role']!r} is of an argument as a whole, not of a part of one"
        elif "unit" in marks and (marks["unit"] not in get_args(Unit) or marks.get("role") != "amount"):
            yield f"a unit is of an amount, and `minor` or `major`, not {marks['unit']!r}"
        elif "readers" in marks and not _are_readers(marks["readers"]):
            yield f"readers are at most {MAX_READERS} texts, each an address or `@domain`, not {marks['readers']!r}"
        elif "author" in marks and marks["author"] not in [*beside.get(id(part), ())]:
            yield f"an author is the name of a property beside the marked one, not {marks['author']!r}"


def names_readers(schema: Schema) -> bool:
    """Whether any part of a result has readers."""
    return any("readers" in marks_of(part) for part in parts_of(dict(schema)))


def _are_readers(value: JsonValue) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= MAX_READERS
        and all(isinstance(each, str) and each.strip() == each and each not in ("", "@") for each in value)
    )


def _properties(schema: JsonValue) -> Iterator[tuple[set[str], dict[str, JsonValue]]]:
    """Every property of a schema, with the names of those beside it."""
    for part in parts_of(schema):
        found = part.get("properties")
        if isinstance(found, dict):
            yield from ((found.keys() - {name}, each) for name, each in found.items() if isinstance(each, dict))


def parts_of(schema: JsonValue) -> Iterator[dict[str, JsonValue]]:
    """A schema and every schema in it; a property of the mark's name is no mark."""
    if isinstance(schema, list):
        for each in schema:
            yield from parts_of(each)
    if not isinstance(schema, dict):
        return
    yield schema
    for word, inner in schema.items():
        if word not in (ANNOTATION, "default", "examples", "const", "enum"):
            yield from parts_of(list(inner.values()) if word in _NAMED and isinstance(inner, dict) else inner)


def amount(arguments: Mapping[str, JsonValue], marked: Mapping[str, Unit]) -> int | None:
    """The sum of the amounts, in minor units; None where there is none.

    Raises:
        Invalid: One is no whole number of minor units from 0 to 2^53 - 1.
    """
    values = [_minor(arguments[name], unit) for name, unit in marked.items() if name in arguments]
    total = sum(values)
    if total > MAX_AMOUNT:
        raise Invalid("the amounts add up to more than can be counted")
    return total if values else None


def _minor(value: JsonValue, unit: Unit) -> int:
    """One amount in minor units: in major ones it may have two decimals."""
    found: JsonValue = value
    if unit == "major" and isinstance(value, int | float) and not isinstance(value, bool):
        minor = Decimal(repr(value)) * 100 if 0 <= value <= MAX_AMOUNT else Decimal(-1)
        found = int(minor) if minor == minor.to_integral_value() else None
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found <= MAX_AMOUNT:
        raise Invalid(f"an amount must be a whole number of minor units, 0 or more, not {value!r}")
    return found
