"""JSON Schema (draft 2020-12): what a tool's arguments must look like."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import jsonschema_rs
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from pydantic import JsonValue
from referencing.exceptions import Unresolvable
from referencing.jsonschema import EMPTY_REGISTRY

from dominie_contracts import Invalid
from dominie_tool.adapters.apart import wrong_apart
from dominie_tool.adapters.schema_parts import NOTES, misfit, values, weight

Schema = Mapping[str, JsonValue]
_META_SCHEMA = dict(Draft202012Validator.META_SCHEMA)
_META = jsonschema_rs.Draft202012Validator(_META_SCHEMA, offline=True)
"""Nobody else wrote this one, so it is safe here (decision 0006); the other library takes 0.4 s for 2 kB."""
_AT_ONCE = 4_000
"""Parts of the schema times values in the arguments that are looked at without a process: some 50 ms."""
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
        self._schema = dict(schema)
        self._validator = Draft202012Validator(schema, registry=EMPTY_REGISTRY)
        self._flat = _flat(schema)

    async def wrong(self, arguments: Mapping[str, JsonValue]) -> str | None:
        """What is wrong with arguments, and where; None if they fit.

        What may take long is checked in a process of its own: this one serves everybody.

        Raises:
            Invalid: The schema refers to what is not in it, or to itself; or the check takes too long.
            Unavailable: Others are being checked.
        """
        if self._flat is not None and self._flat.fits(arguments):
            return None
        return await self.wrong_value(dict(arguments))

    async def wrong_value(self, value: JsonValue) -> str | None:
        """As `wrong`, for any value: a tool's result, where this is its output schema."""
        if self._weight * values(value, _AT_ONCE) > _AT_ONCE:
            return await wrong_apart(self._schema, value)
        try:
            error = best_match(self._validator.iter_errors(value))
        except (Unresolvable, RecursionError) as broken:
            raise Invalid("its input schema refers to what is not in it, or to itself") from broken
        return misfit(error.absolute_path, error.absolute_schema_path, self._schema) if error else None

    @cached_property
    def _weight(self) -> float:
        return weight(self._schema)


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
    if schema.keys() - NOTES - {"type", "properties", "required", "additionalProperties"}:
        return None
    properties, required = schema.get("properties", {}), schema.get("required", [])
    if schema.get("type") != "object" or not isinstance(properties, dict) or not isinstance(required, list):
        return None
    types = {}
    for name, part in properties.items():
        if not isinstance(part, dict) or part.keys() - NOTES - {"type"} or not isinstance(part.get("type"), str):
            return None
        types[name] = _TYPES.get(part["type"], ())
    return _Flat(types, frozenset(map(str, required)))


def check_schemas(*schemas: Schema) -> None:
    """Check that they are schemas.

    Raises:
        Invalid: One is not.
    """
    for schema in schemas:
        error = next(_META.iter_errors(dict(schema)), None)
        if error is not None:
            raise Invalid(f"not a JSON Schema: {misfit(error.instance_path, error.schema_path, _META_SCHEMA)}")
