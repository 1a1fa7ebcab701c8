"""The short values that a text says, wherever in it they stand: they are found by chance (decision 0030). Pure."""

import re
from collections.abc import Iterator

from dominie_contracts.typed import SHORT, Form, forms, plain

_AT_ONCE, _AGAIN = 8_000, 32
"""Characters that are looked at together, and of those before them: what is cut in two there is whole here."""
_MOST = 2_000
"""Numbers that are looked at together; where there are more, it may be any."""
_TOKEN = re.compile(r"\S+")
_AROUND = "()[]{}<>\"'`.,;:!?*_"
_NUMERALS = tuple(map(re.compile, (r"\d+", r"-?\d[\d.,:'-]*\d", r"[^\W_]+", r"\d{1,3}(?: \d{3})+")))
_TYPED = re.compile(r"[\d@]")
_STARTS, _ENDS = r"(?:(?<![^\W_])|(?=[\W_]))", r"(?:(?![^\W_])|(?<=[\W_]))"
_STRETCHES = tuple(re.compile(rf"{_STARTS}(?=(.{{{length}}}){_ENDS})", re.DOTALL) for length in range(1, SHORT))
"""What stands between two ends of words, of each length that is short."""


def said_by_chance(text: str) -> Iterator[set[Form] | None]:
    """The short forms in a text, as `loose` has them, a part of it after the other; None where nobody looks at all."""
    said = plain(text)
    for start in range(0, len(said), _AT_ONCE):
        yield _said(said[max(0, start - _AGAIN) : start + _AT_ONCE])


def _said(said: str) -> set[Form] | None:
    tokens = set(_TOKEN.findall(said))
    typed = {*tokens, *(token.strip(_AROUND) for token in tokens)}
    for pattern in _NUMERALS:
        typed.update(pattern.findall(said))
    typed.update([each.lstrip("0") for each in typed])  # who reads `013` may do it with 13
    typed = {each for each in typed if len(each) < 2 * SHORT and _TYPED.search(each)}
    if len(typed) > _MOST:
        return None
    found = {loose(form) for each in typed for form in forms(each) if form.short}
    for pattern in _STRETCHES:
        found.update(Form("text", each) for each in set(pattern.findall(said)))
    return found


def loose(form: Form) -> Form:
    """A short number and the same sum of money cast doubt on each other."""
    return form._replace(kind="number") if form.kind == "money" else form
