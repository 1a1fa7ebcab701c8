"""Values in the one form that all ways to write them share, so that a whole value is found in another source. Pure.

Text is NFKC without invisible characters, its white space single. What reads as a number, a sum of money, a date, an
IBAN, an e-mail address or a URL has that form, too. What could be read in two ways has the stricter one: a date with
slashes is text, and so is what begins with a zero, `0012345678`: an account, perhaps, and another than `12345678`. An
IBAN's checksum is not looked at, since both sides would have to be equal anyway.
"""

import re
import unicodedata
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import JsonValue

from dominie_contracts.artifact import MARK

Kind = Literal["text", "number", "money", "date", "time", "iban", "email", "url", "artifact"]
Unit = Literal["minor", "major"]
"""Of an amount: cents, or dollars and fractions of them."""
SHORT = 6
"""Characters: what is shorter is found by chance."""
_DIGITS = 30
MAX_CHARS = 2_000
"""Characters: what is longer is text alone."""
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e0fff]"
)
_SIGN = r"[$€£¥₹]|USD|EUR|GBP|CHF|JPY|INR|CAD|AUD|dollars?|euros?|pounds?"
_NUMBER = re.compile(rf"(?P<minus>-)?(?P<before>{_SIGN})? ?(?P<digits>\d[\d.,' ]*?) ?(?P<after>{_SIGN})?")
_GROUPED = re.compile(r"[1-9]\d{0,2}(?:(?P<by>[,.' ])\d{3})(?:(?P=by)\d{3})*(?P<fraction>[.,]\d+)?")
_PLAIN = re.compile(r"(?:0|[1-9]\d*)(?:[.,]\d+)?")
_EMAIL = re.compile(r"[^@\s<>()\[\],;:\"]+@[^@\s<>()\[\],;:\"]+\.[^@\s<>()\[\],;:\".]+")
_IBAN = re.compile(r"[A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(?P<month>(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]{0,6})\.?"
_SUM = r"\d[\d.,']{0,40}(?<![.,'])"
MONEY = re.compile(rf"(?:{_SIGN}) ?{_SUM}(?![\d])|(?<!\d)(?<!\d[.,']){_SUM} ?(?:{_SIGN})(?!\w)")
"""A sum of money in a text."""
WRITTEN_DATES = (
    re.compile(r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>\d{4})"),
    re.compile(rf"(?P<day>\d{{1,2}})(?:st|nd|rd|th|\.)?(?: of)? {_MONTH},? (?P<year>\d{{4}})", re.IGNORECASE),
    re.compile(rf"{_MONTH} (?P<day>\d{{1,2}})(?:st|nd|rd|th)?,? (?P<year>\d{{4}})", re.IGNORECASE),
)


class Form(NamedTuple):
    """A value as one kind of thing."""

    kind: Kind
    text: str

    @property
    def short(self) -> bool:
        """Whether it is found by chance, so that finding it says little."""
        return len(self.text) < SHORT


def plain(text: str) -> str:
    """Text without what nobody sees, and what looks alike by Unicode's own tables alike."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text))
        text = _INVISIBLE.sub("", text)
    return " ".join(text.split())


def forms(value: JsonValue) -> frozenset[Form]:
    """Every form of a leaf of JSON; none where it says nothing: null, a boolean, empty text."""
    if isinstance(value, dict):
        return frozenset({Form("artifact", str(value[MARK]))}) if MARK in value else frozenset()
    if isinstance(value, bool) or value is None or isinstance(value, list):
        return frozenset()
    if isinstance(value, str):
        text = plain(value)
        return frozenset(_of_text(text)) if text else frozenset()
    return frozenset({Form("text", _written(Decimal(repr(value)))), Form("number", _written(Decimal(repr(value))))})


def sums(value: JsonValue, unit: Unit) -> frozenset[Form]:
    """The forms of an amount: in minor units it is found as that number, and as the sum in major ones."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return forms(value)
    number = Decimal(repr(value))
    major = number / 100 if unit == "minor" else number
    return frozenset(
        {Form("number", _written(number)), Form("number", _written(major)), Form("money", _written(major))}
    )


def _of_text(text: str) -> Iterator[Form]:
    yield Form("text", text)
    if len(text) > MAX_CHARS:
        return
    if _EMAIL.fullmatch(text):
        yield Form("email", text.lower())
    if _IBAN.fullmatch(text):
        yield Form("iban", re.sub("[ -]", "", text).upper())
    if (address := _url(text)) is not None:
        yield Form("url", address)
    yield from _moments(text)
    if (found := _NUMBER.fullmatch(text)) is not None and (number := _number(found["digits"].strip())) is not None:
        signed = -number if found["minus"] else number
        yield Form("money" if found["before"] or found["after"] else "number", _written(signed))


def _number(digits: str) -> Decimal | None:
    """`1,000.50`, `1.000,50`, `1 000`, `1000.5`: a single comma before three digits parts thousands, a single point
    does not."""
    if len(digits) > _DIGITS:
        return None
    grouped = _GROUPED.fullmatch(digits)
    if grouped is not None and not (grouped["by"] == "." and digits.count(".") == 1 and "," not in digits):
        fraction = grouped["fraction"] or ""
        if fraction[:1] == grouped["by"]:
            return None
        whole = digits[: len(digits) - len(fraction)].replace(grouped["by"], "")
        return Decimal(whole + fraction.replace(",", "."))
    return Decimal(digits.replace(",", ".")) if _PLAIN.fullmatch(digits) else None


def _written(number: Decimal) -> str:
    """The same number, always written the same."""
    if not -_DIGITS < number.adjusted() < _DIGITS:
        return str(number)
    text = f"{number:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def _moments(text: str) -> Iterator[Form]:
    if text[:4].isdecimal() and text[4:5] == "-":
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return
        if len(text) <= len("2026-11-21"):
            yield Form("date", moment.date().isoformat())
        else:
            utc = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
            yield Form("time", str(utc.timestamp()))
        return
    for pattern in WRITTEN_DATES:
        if (found := pattern.fullmatch(text)) is not None:
            month = found["month"]
            number = int(month) if month.isdecimal() else _MONTHS.index(month[:3].lower()) + 1
            try:
                yield Form("date", date(int(found["year"]), number, int(found["day"])).isoformat())
            except ValueError:
                return


def _url(text: str) -> str | None:
    """Scheme and host in lower case, without the port that the scheme has anyway."""
    if "://" not in text or " " in text:
        return None
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        return None
    usual = {"http": 80, "https": 443}[parts.scheme.lower()]
    user = parts.netloc.rpartition("@")[0]
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    host = (f"{user}@" if user else "") + name.lower() + (f":{port}" if port not in (None, usual) else "")
    return parts._replace(scheme=parts.scheme.lower(), netloc=host, path=parts.path or "/").geturl()
