"""Which parts of a value are too large to send, so that equal values always leave out the same ones. Pure."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from pydantic import JsonValue
from pydantic_core import to_json

from dominie_contracts.artifact import INLINE_BYTES, MediaType

_MOST = 16
"""More parts of one value than these go together, as one."""
_SMALLER, _SMALLEST = 8, 1024
_STAND_IN_BYTES = 128
_LEAST_BYTES = 2
"""Of a part, with what parts it from the next one."""


@dataclass(frozen=True, slots=True)
class Large:
    """A part that is left out: its bytes become an artifact."""

    data: bytes
    media_type: MediaType


Shrunk: TypeAlias = JsonValue | Large | dict[str, "Shrunk"] | list["Shrunk"]


class _Lighter(NamedTuple):
    value: Shrunk
    size: int
    left_out: int


def shrink(value: JsonValue, limit: int = INLINE_BYTES) -> Shrunk:
    """A value whose JSON is no longer than the limit: where it is, its largest parts are left out, or all of it."""
    return _shrunk(value, limit).value


def shrink_arguments(arguments: dict[str, JsonValue]) -> dict[str, Shrunk]:
    """As `shrink`, but what is named stays named, however long that is."""
    size = len(to_json(arguments))
    if size <= INLINE_BYTES:
        return dict(arguments)
    found = _without(arguments.items(), size, INLINE_BYTES)
    return {str(name): part.value for name, part in found.items()}


def _shrunk(value: JsonValue, limit: int) -> _Lighter:
    size = len(to_json(value))
    if size <= limit:
        return _Lighter(value, size, 0)
    if isinstance(value, str):
        return _Lighter(Large(value.encode(), "text/plain"), _STAND_IN_BYTES, 1)
    if isinstance(value, dict | list) and len(value) <= limit // _LEAST_BYTES + _MOST:
        found = _without(value.items() if isinstance(value, dict) else enumerate(value), size, limit)
        left = sum(part.size for part in found.values())
        left_out = sum(part.left_out for part in found.values())
        if left <= limit and left_out <= _MOST:
            parts = {key: part.value for key, part in found.items()}
            return _Lighter(_like(value, parts), left, left_out)
    data = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
    return _Lighter(Large(data, "application/json"), _STAND_IN_BYTES, 1)


def _without(parts: Iterable[tuple[str | int, JsonValue]], size: int, limit: int) -> dict[str | int, _Lighter]:
    """The parts of a value, from the largest on each made smaller until all of it is no longer than the limit."""
    found = {key: _Lighter(part, len(to_json(part)) + len(str(key)) + 4, 0) for key, part in parts}
    for key, part in sorted(found.items(), key=lambda each: -each[1].size):
        if size <= limit:
            break
        lighter = _shrunk(part.value, max(limit // _SMALLER, _SMALLEST))  # type: ignore[arg-type]  # not yet shrunk
        found[key] = lighter
        size += lighter.size - part.size
    return found


def _like(value: JsonValue, parts: dict[str | int, Shrunk]) -> Shrunk:
    return list(parts.values()) if isinstance(value, list) else {str(key): part for key, part in parts.items()}
