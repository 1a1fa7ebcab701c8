"""The texts of a JSON value, as checks are given them. Pure."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from pydantic import JsonValue

_UNSEEN = re.compile(
    "[\u00ad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff"
    "\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0001"
    "\U000e0020-\U000e007f]"
)
"""Unicode's category Cf: characters that say how others are shown."""
MOST = 2**20
"""Characters that checks look at in one value."""


class TooLarge(ValueError):
    """A value has more text than checks look at."""

    def __init__(self) -> None:
        super().__init__(f"more text than checks look at ({MOST:,} characters)")


class Text(NamedTuple):
    """A text, and where it stands (RFC 6901); the name of a member stands where its value does."""

    pointer: str
    text: str


def texts(value: JsonValue) -> list[Text]:
    """Every text in a value, names and numbers too, each as it reads.

    Raises:
        TooLarge: They are too long together.
    """
    found, size = list[Text](), 0
    for pointer, text in _raw(value, ""):
        size += len(text)
        if size > MOST:
            raise TooLarge
        found.append(Text(pointer, text if text.isascii() else _plain(text)))
    if sum(len(each.text) for each in found) > MOST:
        raise TooLarge
    return found


def _raw(value: JsonValue, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, part in value.items():
            at = f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
            yield at, name
            yield from _raw(part, at)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _raw(part, f"{pointer}/{index}")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield pointer, str(value)


def _plain(text: str) -> str:
    """As people read it: full-width letters are letters, and what cannot be seen is not there."""
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", text))
