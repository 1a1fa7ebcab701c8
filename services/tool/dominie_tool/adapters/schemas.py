"""JSON Schema (draft 2020-12): what a tool's arguments must look like."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, best_match
from pydantic import JsonValue
from pydantic_core import from_json, to_json
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from dominie_contracts import Invalid
from dominie_contracts.labels import ANNOTATION

Schema = Mapping[str, JsonValue]
_NOTES = {"title", "description", "default", "examples", "$comment", "$schema", "$defs", ANNOTATION}
"""Keywords that let every value pass."""
_TYPES: dict[JsonValue, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}


class InputSchema:
    """A tool's input schema, made ready once. No `$ref` leads out of it."""

    def __init__(self, schema: Schema) -> None:
        self._validator = Draft202012Validator(schema, registry=EMPTY_REGISTRY)
        self._flat = _flat(schema)

    def wrong(self, arguments: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with arguments, and where; None if they fit.

        Raises:
            Invalid: The schema refers to what is not in it, or to itself.
        """
        if self._flat is not None and self._flat.fits(arguments):
            return None
        try:
            error = best_match(self._validator.iter_errors(arguments))
        except (Unresolvable, RecursionError) as broken:
            raise Invalid("its input schema refers to what is not in it, or to itself") from broken
        return f"{error.json_path}: {error.message}" if error else None


@dataclass(frozen=True, slots=True)
class _Flat:
    """A schema of plain types, as most are: what fits is known at once, the rest is left to the library."""

    types: Mapping[str, tuple[type, ...]]
    required: frozenset[str]

    def fits(self, arguments: Mapping[str, JsonValue]) -> bool:
        for name, value in arguments.items():
            if type(value) not in self.types.get(name, ()):
                return False
        return self.required <= arguments.keys()


def _flat(schema: Schema) -> _Flat | None:
    """The same schema, if it says nothing but plain types."""
    if schema.keys() - _NOTES - {"type", "properties", "required", "additionalProperties"}:
        return None
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("type") != "object" or not isinstance(properties, dict) or not isinstance(required, list):
        return None
    types = {}
    for name, part in properties.items():
        if not isinstance(part, dict) or part.keys() - _NOTES - {"type"} or not isinstance(part.get("type"), str):
            return None
        types[name] = _TYPES.get(part["type"], ())
    return _Flat(types, frozenset(map(str, required)))


def check_schemas(*schemas: Schema) -> None:
    """Check that they are schemas.

    Raises:
        Invalid: One is not.
    """
    try:
        for schema in schemas:
            _check_schema(to_json(schema))
    except SchemaError as error:
        raise Invalid(f"not a JSON Schema: {error.message}") from error


@lru_cache(128)
def _check_schema(schema: bytes) -> None:
    """Check a schema, by its JSON: a local tool's comes along with each of its calls."""
    Draft202012Validator.check_schema(from_json(schema))
