"""Placeholders in a script's replies: `{name}`, `{{`, `}}`, `{"$int": …}` and `{"$cents": …}`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation

from pydantic import JsonValue

from dominie_model.adapters.script_errors import Unfillable

_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{(\w+)\}")
_SCALE = {"$int": 1, "$cents": 100}


def names(template: JsonValue) -> Iterator[str]:
    """The placeholders that a reply uses."""
    if isinstance(template, str):
        yield from (found[1] for found in _PLACEHOLDER.finditer(template) if found[1])
    elif isinstance(template, Mapping):
        for value in template.values():
            yield from names(value)
    elif isinstance(template, list):
        for value in template:
            yield from names(value)


def fill(template: JsonValue, values: Mapping[str, str]) -> JsonValue:
    """Put the values in.

    Raises:
        Unfillable: A text that should become a number is none.
    """
    if isinstance(template, str):
        return fill_text(template, values)
    if isinstance(template, list):
        return [fill(item, values) for item in template]
    if not isinstance(template, Mapping):
        return template
    if len(template) == 1:
        ((kind, inner),) = template.items()
        if kind in _SCALE:
            return _number(kind, str(fill(inner, values)))
    return {key: fill(value, values) for key, value in template.items()}


def fill_text(template: str, values: Mapping[str, str]) -> str:
    """Put the values into a text."""
    return _PLACEHOLDER.sub(lambda found: values[found[1]] if found[1] else found[0][0], template)


def _number(kind: str, text: str) -> int:
    try:
        value = Decimal(re.sub(r"[\s,$€£]", "", text)) * _SCALE[kind]
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        raise Unfillable(kind, text) from None
    if whole != value:
        raise Unfillable(kind, text)
    return whole
