"""JSON Schema of a function's arguments and result, from its annotations, and values that fit it."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_type_hints

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    TypeAdapter,
    ValidationError,
    create_model,
)
from pydantic_core import CoreSchema

from dominie_contracts import Invalid
from dominie_contracts.provenance import Integrity as Level
from dominie_contracts.typed import Unit

MARK = "x-dominie"
RoleName = Literal["amount", "recipient", "object", "when", "code", "text"]


@dataclass(frozen=True, slots=True)
class _Mark:
    def _marks(self) -> dict[str, JsonValue]:
        raise NotImplementedError

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = dict(handler(core))
        return {**found, MARK: {**found.get(MARK, {}), **self._marks()}}


@dataclass(frozen=True, slots=True)
class Role(_Mark):
    """What an argument is to the policies: `Annotated[int, Role("amount")]`; `Role("amount", "major")` is no cents."""

    name: RoleName
    unit: Unit | None = None

    def _marks(self) -> dict[str, JsonValue]:
        return {"role": self.name} if self.unit is None else {"role": self.name, "unit": self.unit}


@dataclass(frozen=True, slots=True)
class Integrity(_Mark):
    """How far a part of a result can be trusted: `Annotated[str, Integrity("record")]`.

    Attributes:
        readers: Whoever may read it, by address or `@domain`; none: anybody.
        author: The property beside it that says who wrote it: if that is not the run's user, it is untrusted.
    """

    level: Level = "record"
    readers: tuple[str, ...] = ()
    author: str | None = None

    def _marks(self) -> dict[str, JsonValue]:
        readers: dict[str, JsonValue] = {"readers": [*self.readers]} if self.readers else {}
        author: dict[str, JsonValue] = {} if self.author is None else {"author": self.author}
        return {"integrity": self.level, **readers, **author}


class Signature:
    """The arguments and the result of one function; a parameter of type `context` is nobody's argument."""

    def __init__(self, function: Callable[..., object], roles: Mapping[str, RoleName], context: type) -> None:
        self._names: dict[str, str] = {}
        self.context: str | None = None
        hints = get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {}
        for number, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise Invalid(f"{function.__name__}: {parameter} cannot be an argument of a tool; name each one")
            hint = hints.get(parameter.name, Any)
            if hint is context:
                self.context = parameter.name
                continue
            default = ... if parameter.default is parameter.empty else parameter.default
            mark: Any = {MARK: {"role": roles[parameter.name]}} if parameter.name in roles else None
            fields[f"a{number}"] = (hint, Field(default, alias=parameter.name, json_schema_extra=mark))
            self._names[f"a{number}"] = parameter.name
        if unknown := set(roles) - set(self._names.values()):
            raise Invalid(f"{function.__name__} has no parameter {', '.join(sorted(unknown))}")
        self._arguments: type[BaseModel] = create_model(
            function.__name__, __config__=ConfigDict(extra="forbid", protected_namespaces=()), **fields
        )
        self._returns: TypeAdapter[Any] = TypeAdapter(hints.get("return", Any))

    @property
    def input_schema(self) -> dict[str, JsonValue]:
        """JSON Schema of the arguments."""
        return _untitled(self._arguments.model_json_schema())

    @property
    def output_schema(self) -> dict[str, JsonValue]:
        """JSON Schema of the result; empty: anything."""
        return _untitled(self._returns.json_schema(mode="serialization"))

    def bind(self, arguments: Mapping[str, JsonValue]) -> dict[str, Any]:
        """The values to call the function with.

        Raises:
            Invalid: They do not fit.
        """
        try:
            found = self._arguments.model_validate(arguments)
        except ValidationError as error:
            places = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
            raise Invalid(f"the arguments do not fit: {places}") from error
        return {name: getattr(found, field) for field, name in self._names.items()}

    def dump(self, result: object) -> JsonValue:
        """The result as JSON."""
        dumped: JsonValue = self._returns.dump_python(result, mode="json")
        return dumped


def _untitled(schema: dict[str, Any]) -> dict[str, JsonValue]:
    """Without the titles that pydantic makes of names; an argument may be called `title`."""

    def walk(node: Any, *, names: bool) -> Any:
        if isinstance(node, list):
            return [walk(item, names=False) for item in node]
        if not isinstance(node, dict):
            return node
        return {
            key: walk(value, names=key in ("properties", "$defs") and not names)
            for key, value in node.items()
            if names or key != "title" or not isinstance(value, str)
        }

    found: dict[str, JsonValue] = walk(schema, names=False)
    return found
