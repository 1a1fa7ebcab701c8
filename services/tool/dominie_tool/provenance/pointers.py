"""What stands at a JSON pointer (RFC 6901)."""

import re
from typing import Final

from pydantic import JsonValue

from dominie_contracts.labels import is_artifact

_POINTER = re.compile(r"(?:/(?:[^~/]|~[01])*)*")
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")


class Nothing:
    """Stands where nothing does."""


NOTHING_THERE: Final = Nothing()


def at(value: JsonValue, pointer: str) -> JsonValue | Nothing:
    """What stands at a pointer; `NOTHING_THERE` where nothing does, or that is no pointer.

    A leaf has one pointer: labels are looked up by it. What stands for an artifact is a leaf.
    """
    if not _POINTER.fullmatch(pointer):
        return NOTHING_THERE
    for part in pointer.split("/")[1:]:
        key = unescaped(part)
        if isinstance(value, dict) and key in value and not is_artifact(value):
            value = value[key]
        elif isinstance(value, list) and _INDEX.fullmatch(part) and int(part) < len(value):
            value = value[int(part)]
        else:
            return NOTHING_THERE
    return value


def below(pointer: str, above: str) -> bool:
    """Whether a pointer is another one, or leads to a part of what that leads to."""
    return pointer == above or pointer.startswith(f"{above}/")


def unescaped(part: str) -> str:
    """A part of a pointer as a key."""
    return part.replace("~1", "/").replace("~0", "~")
