"""Takes secrets out of what a tool says, should a host have told it one: as they are, in base64, hex, JSON and URLs.

All secrets in all forms are looked for in one pass (Aho and Corasick), over the text and over what it says once its
escapes are undone; what two of them share is taken out with both. Pure.
"""

from __future__ import annotations

import base64
import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from functools import cached_property
from itertools import islice
from typing import NamedTuple

from ahocorasick_rs import AhoCorasick
from pydantic import JsonValue

_SHOWN = "[secret]"
_PART = 12
"""So many characters of a secret are told for a part of it."""
_WINDOW = 2**15
_DEPTH = 2
"""So often what was escaped may have been escaped again."""
_ALIKE = str.maketrans("-_ ABCDEFGHIJKLMNOPQRSTUVWXYZ", "+/+abcdefghijklmnopqrstuvwxyz")
"""Letters of both cases are one, and so is what forms of base64 and of URLs write for one another."""
_BASE64 = re.compile("[A-Za-z0-9+/_-]")
_REST = re.compile("[A-Za-z0-9+/_-]?={0,2}")
_IN_URL = re.compile("%([2-7][0-9A-Fa-f])")
_IN_JSON = re.compile(r"\\(?:u00([2-7][0-9A-Fa-f])|(.))")
_PLAIN = '"\\/'
"""What stands for itself in JSON behind a backslash."""
Span = tuple[int, int]


class _Form(NamedTuple):
    """How a secret may be written: in base64 the characters beside it may hold parts of it, too."""

    text: str
    before: bool = False
    after: bool = False


class Redactor:
    """Takes the secrets of one call out of its outcome."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted(set(secrets))

    def __bool__(self) -> bool:
        return bool(self._secrets)

    def text(self, text: str) -> str:
        """A text without them."""
        return _without(text, self._whole.spans(text)) if self else text

    def value(self, value: JsonValue) -> JsonValue:
        """A value without them, wherever they stand in it: looked at as one text, since a call of many costs more."""
        if not self:
            return value
        texts = list(_texts(value))
        together = "\n".join(texts)  # no form of a secret has a line's end
        if not (spans := self._whole.spans(together)):
            return value
        lines = iter(_without(together, spans).split("\n"))
        return _filled(value, iter(["\n".join(islice(lines, text.count("\n") + 1)) for text in texts]))

    def cut(self, text: str) -> str:
        """A text, of which somebody has cut off parts already, without them and without parts of them."""
        return _without(text, [*self._whole.spans(text), *self._parts.spans(text)]) if self else text

    @cached_property
    def _whole(self) -> _Forms:
        return _Forms(form for secret in self._secrets for form in _forms(secret))

    @cached_property
    def _parts(self) -> _Forms:
        sizes = ((secret, min(_PART, len(secret))) for secret in self._secrets)
        return _Forms(_Form(secret[at : at + size]) for secret, size in sizes for at in range(len(secret) - size + 1))


class _Forms:
    """What is looked for."""

    def __init__(self, forms: Iterable[_Form]) -> None:
        self._forms = list(dict.fromkeys(form._replace(text=form.text.translate(_ALIKE)) for form in forms))
        self._longest = max(len(form.text) for form in self._forms)
        self._automaton = AhoCorasick([form.text for form in self._forms])

    def spans(self, text: str, depth: int = _DEPTH) -> list[Span]:
        """Where they stand in a text."""
        alike = text.translate(_ALIKE).encode(errors="replace").decode()  # half a character is none in Rust
        starts = range(0, len(text), _WINDOW)
        found = [span for start in starts for span in _merged(self._seen(text, alike, start))]
        for pattern in (_IN_URL, _IN_JSON) if depth else ():
            undone = _Undone(text, pattern)
            if len(undone.text) < len(text):
                found += [(undone.place(start), undone.place(end)) for start, end in self.spans(undone.text, depth - 1)]
        return list(_merged(found))

    def _seen(self, text: str, alike: str, first: int) -> Iterator[Span]:
        """Those that begin within a window, which bounds how many of them are held at once."""
        window = alike[first : first + _WINDOW + self._longest]
        for which, at, behind in self._automaton.find_matches_as_indexes(window, overlapping=True):
            form, start, end = self._forms[which], first + at, first + behind
            if form.before and start and _BASE64.match(text[start - 1]):
                start -= 1
            if form.after and (rest := _REST.match(text, end)):
                end = rest.end()
            yield start, end


class _Undone:
    """What a text says once its escapes are undone, and where in the text that stands."""

    def __init__(self, text: str, pattern: re.Pattern[str]) -> None:
        self._starts, self._moved = [0], [0]
        parts, done = [], 0
        for escape in pattern.finditer(text):
            said = _said(escape)
            if said is None:
                continue
            parts += [text[done : escape.start()], said]
            done = escape.end()
            self._moved.append(self._moved[-1] + done - escape.start() - 1)
            self._starts.append(done - self._moved[-1])
        self.text = "".join([*parts, text[done:]])

    def place(self, at: int) -> int:
        """Where in the text something of it begins, which is where what is before it ends."""
        return at + self._moved[bisect_right(self._starts, at) - 1]


def _said(escape: re.Match[str]) -> str | None:
    """The character that an escape stands for; None where no secret has it."""
    if escape[1]:
        return chr(int(escape[1], 16))
    return escape[2] if escape[2] in _PLAIN else None


def _forms(secret: str) -> Iterator[_Form]:
    raw = secret.encode()
    yield _Form(secret)
    yield _Form(json.dumps(secret)[1:-1])
    yield _Form(raw.hex())
    for offset, lost in enumerate((0, 2, 3)):
        whole = (offset + len(raw)) * 8 // 6
        coded = base64.b64encode(bytes(offset) + raw)[lost:whole].decode()
        yield _Form(coded, before=bool(lost), after=True)


def _without(text: str, spans: Iterable[Span]) -> str:
    """A text without some of its parts, each of which is shown to have been there."""
    parts, done = [], 0
    for start, end in _merged(spans):
        parts += [text[done:start], _SHOWN]
        done = end
    return "".join([*parts, text[done:]])


def _merged(spans: Iterable[Span]) -> Iterator[Span]:
    """What they cover, in order: those that overlap, or touch, are one."""
    first, last = 0, -1
    for start, end in sorted(spans):
        if start > last:
            if last > 0:
                yield first, last
            first = start
        last = max(last, end)
    if last > 0:
        yield first, last


def _texts(value: JsonValue) -> Iterator[str]:
    match value:
        case str():
            yield value
        case dict():
            for name, each in value.items():
                yield name
                yield from _texts(each)
        case list():
            for each in value:
                yield from _texts(each)


def _filled(value: JsonValue, texts: Iterator[str]) -> JsonValue:
    """A value with other texts, in the order of `_texts`."""
    match value:
        case str():
            return next(texts)
        case dict():
            return {next(texts): _filled(each, texts) for each in value.values()}
        case list():
            return [_filled(each, texts) for each in value]
        case _:
            return value
