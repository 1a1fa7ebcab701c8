"""Which parts of a message are personal, and how they look sealed and erased. Pure; the ciphers are the kit's.

A part is personal by its annotation: `text: Annotated[str, PERSONAL]`. Sealed it keeps its JSON type, so that its
contract still reads it: a text is `"$sealed:TOKEN"`, anything else `{"$sealed": "TOKEN"}`. Opened when its key has been
destroyed it is `"$erased"` or `{"$erased": true}`. A token is the key's id, a point, and the sealed JSON of the part.
"""

import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator, Field, JsonValue
from pydantic_core import to_json

from dominie_contracts.base import Message

PERSONAL: Any = Field(json_schema_extra={"x-personal": True})
"""Annotates a part that says something about the person on whose behalf something happens."""
SEALED, ERASED = "$sealed", "$erased"
_TEXT = f"{SEALED}:"
_KEY_ID = re.compile(rb'\$sealed(?::|":")([0-9a-f]{24})\.')
_EMPTY: tuple[JsonValue, ...] = (None, "", {}, [])


@lru_cache(None)
def parts(kind: type[BaseModel]) -> Mapping[str, type[BaseModel] | None]:
    """A message's personal fields, and the fields whose messages have some (with their type)."""
    found: dict[str, type[BaseModel] | None] = {}
    for name, field in kind.model_fields.items():
        inner = _message(field.annotation)
        if field.json_schema_extra == {"x-personal": True}:
            found[name] = None
        elif inner is not None and parts(inner):
            found[name] = inner
    return found


def seal_parts(message: Message, seal: Callable[[str, bytes], str], path: str = "") -> dict[str, object]:
    """A message's fields for JSON, with each personal part sealed: `seal` takes where it stands and its JSON."""
    data = dict(message.__dict__)
    for name, inner in parts(type(message)).items():
        value = data[name]
        if value in _EMPTY:
            continue
        if inner is None:
            token = seal(path + name, to_json(value))
            data[name] = _TEXT + token if isinstance(value, str) else {SEALED: token}
        elif isinstance(value, Message):
            data[name] = seal_parts(value, seal, f"{path}{name}.")
        elif isinstance(value, tuple):
            data[name] = [seal_parts(one, seal, f"{path}{name}.{at}.") for at, one in enumerate(value)]
    return data


def open_parts(
    kind: type[BaseModel], data: Mapping[str, JsonValue], unseal: Callable[[str, JsonValue], JsonValue], path: str = ""
) -> dict[str, JsonValue]:
    """An event's data with each sealed part opened: `unseal` takes where it stands and what stands there."""
    opened = dict(data)
    for name, inner in parts(kind).items():
        value = data.get(name)
        if inner is None and token_of(value) is not None:
            opened[name] = unseal(path + name, value)
        elif inner is None:
            continue
        elif isinstance(value, dict):
            opened[name] = open_parts(inner, value, unseal, f"{path}{name}.")
        elif isinstance(value, list):
            opened[name] = [
                open_parts(inner, one, unseal, f"{path}{name}.{at}.") if isinstance(one, dict) else one
                for at, one in enumerate(value)
            ]
    return opened


def token_of(value: JsonValue) -> str | None:
    """The token of a sealed part; None where it is not sealed."""
    if isinstance(value, str) and value.startswith(_TEXT):
        return value.removeprefix(_TEXT)
    if isinstance(value, dict) and value.keys() == {SEALED}:
        token = value[SEALED]
        return token if isinstance(token, str) else None
    return None


def key_ids(raw: bytes) -> set[str]:
    """The ids of the keys that an event's stored bytes name; a person's own words may name some that are none."""
    return {found.decode() for found in _KEY_ID.findall(raw)} if b"$sealed" in raw else set()


def erased(value: JsonValue) -> JsonValue:
    """What stands for a sealed part whose key is gone."""
    return ERASED if isinstance(value, str) else {ERASED: True}


def is_erased(value: object) -> bool:
    """Whether a part was erased."""
    return value in (ERASED, {ERASED: True})


def is_hidden(value: JsonValue) -> bool:
    """Whether a part was erased, or is sealed still."""
    return is_erased(value) or token_of(value) is not None


def _shown(value: object) -> object:
    return {} if isinstance(value, dict) and value.keys() & {SEALED, ERASED} else value


HIDEABLE = BeforeValidator(_shown)
"""Annotates an object whose values are not just any JSON: sealed or erased, it reads as empty."""


def _message(annotation: object) -> type[BaseModel] | None:
    """The message that a field holds: itself, or None, or a tuple of them."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _message(part))), None)
