"""Takes secrets out of what a tool says, should a host have told it one: as they are, in base64, hex and URLs. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from pydantic import JsonValue

_SHOWN = "[secret]"
_PART = 12
"""So many characters of a secret are told for a part of it."""
_BASE64 = "[A-Za-z0-9+/_-]"


class Redactor:
    """Takes the secrets of one call out of its outcome."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted(set(secrets), key=len, reverse=True)
        forms = [form for secret in self._secrets for form in _forms(secret)]
        self._pattern = re.compile("|".join(forms)) if forms else None

    def text(self, text: str) -> str:
        """A text without them."""
        return text if self._pattern is None else self._pattern.sub(_SHOWN, text)

    def value(self, value: JsonValue) -> JsonValue:
        """A value without them, wherever they stand in it."""
        if self._pattern is None:
            return value
        match value:
            case str():
                return self.text(value)
            case dict():
                return {self.text(name): self.value(each) for name, each in value.items()}
            case list():
                return [self.value(each) for each in value]
            case _:
                return value

    def cut(self, text: str) -> str:
        """A text, of which somebody has cut off parts already, without them and without parts of them."""
        text = self.text(text)
        for secret in self._secrets:
            size = min(_PART, len(secret))
            parts = {secret[at : at + size] for at in range(len(secret) - size + 1)}
            starts = [at for at in range(len(text) - size + 1) if text[at : at + size] in parts]
            text = _masked(text, {at + place for at in starts for place in range(size)})
        return text


def _masked(text: str, hidden: set[int]) -> str:
    runs = groupby(range(len(text)), key=hidden.__contains__)
    return "".join(_SHOWN if inside else "".join(text[at] for at in run) for inside, run in runs)


def _forms(secret: str) -> Iterator[str]:
    raw = secret.encode()
    yield "".join(map(_in_url, raw))
    yield re.escape(json.dumps(secret)[1:-1])
    yield f"(?i:{raw.hex()})"
    for offset, lost in enumerate((0, 2, 3)):
        whole = (offset + len(raw)) * 8 // 6
        coded = base64.b64encode(bytes(offset) + raw)[lost:whole].decode()
        either = re.sub("[+/]", lambda found: "[+-]" if found[0] == "+" else "[/_]", coded)
        yield f"{_BASE64 + '?' if lost else ''}{either}{_BASE64}?=*"


def _in_url(byte: int) -> str:
    """A byte as it is, or escaped (RFC 3986, 2.1)."""
    plain = re.escape(chr(byte))
    return f"(?:{plain}|%{_digit(byte >> 4)}{_digit(byte & 15)}{'|[+]' if byte == 32 else ''})"


def _digit(digit: int) -> str:
    return f"[{digit:x}{digit:X}]" if digit > 9 else f"{digit}"
