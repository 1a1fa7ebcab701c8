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


@dataclass(frozen=True, slots=True)
class _Out:
    """A part that is left out, unless one around it is: so it is not written yet."""

    value: JsonValue


_Lightened: TypeAlias = JsonValue | _Out | dict[str, "_Lightened"] | list["_Lightened"]


class _Lighter(NamedTuple):
    value: _Lightened
    size: int
    left_out: int


def shrink(value: JsonValue, limit: int = INLINE_BYTES) -> Shrunk:
    """A value whose JSON is no longer than the limit: where it is, its largest parts are left out, or all of it."""
    if len(to_json(value)) <= limit:
        return value  # as nearly all are
    return _written(_Shrinking(value).shrunk(value, limit).value)


def shrink_arguments(arguments: dict[str, JsonValue]) -> dict[str, Shrunk]:
    """As `shrink`, but what is named stays named, however long that is."""
    size = len(to_json(arguments))
    if size <= INLINE_BYTES:
        return dict(arguments)
    found = _Shrinking(arguments).without(arguments.items(), size, INLINE_BYTES)
    return {str(name): _written(part.value) for name, part in found.items()}


class _Shrinking:
    """Makes one value smaller. How long its parts are is found once, from the innermost on: they may be very deep."""

    def __init__(self, value: JsonValue) -> None:
        self._sizes: dict[int, int] = {}
        """Of the parts that hold others, by identity: all live as long as the value does."""
        self._measure(value)

    def shrunk(self, value: JsonValue, limit: int) -> _Lighter:
        """A value that is not longer than the limit."""
        size = self._size(value)
        if size <= limit:
            return _Lighter(value, size, 0)
        if isinstance(value, dict | list) and len(value) <= limit // _LEAST_BYTES + _MOST:
            found = self.without(value.items() if isinstance(value, dict) else enumerate(value), size, limit)
            left = sum(part.size for part in found.values())
            left_out = sum(part.left_out for part in found.values())
            if left <= limit and left_out <= _MOST:
                parts = {key: part.value for key, part in found.items()}
                return _Lighter(_like(value, parts), left, left_out)
        return _Lighter(_Out(value), _STAND_IN_BYTES, 1)

    def without(self, parts: Iterable[tuple[str | int, JsonValue]], size: int, limit: int) -> dict[str | int, _Lighter]:
        """The parts of a value, from the largest on each made smaller until all of it is no longer than the limit."""
        given = dict(parts)
        found = {key: _Lighter(part, self._size(part) + len(str(key)) + 4, 0) for key, part in given.items()}
        for key, part in sorted(found.items(), key=lambda each: -each[1].size):
            if size <= limit:
                break
            found[key] = self.shrunk(given[key], max(limit // _SMALLER, _SMALLEST))
            size += found[key].size - part.size
        return found

    def _size(self, value: JsonValue) -> int:
        return self._sizes.get(id(value)) or len(to_json(value))

    def _measure(self, value: JsonValue) -> int:
        """How long the JSON of a value is."""
        if not isinstance(value, dict | list):
            return len(to_json(value))
        parts = value.values() if isinstance(value, dict) else value
        if any(isinstance(part, dict | list) for part in parts):
            names = sum(len(to_json(name)) + 1 for name in value) if isinstance(value, dict) else 0
            size = len("[]") + len(value) - 1 + names + sum(map(self._measure, parts))
        else:
            size = len(to_json(value))
        self._sizes[id(value)] = size
        return size


def _written(value: _Lightened) -> Shrunk:
    """The same with the bytes of what is left out."""
    match value:
        case _Out(str(text)):
            return Large(text.encode(), "text/plain")
        case _Out(part):
            data = json.dumps(part, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()
            return Large(data, "application/json")
        case dict():
            return {name: _written(part) for name, part in value.items()}
        case list():
            return [_written(part) for part in value]
        case _:
            return value


def _like(value: JsonValue, parts: dict[str | int, _Lightened]) -> _Lightened:
    return list(parts.values()) if isinstance(value, list) else {str(key): part for key, part in parts.items()}
