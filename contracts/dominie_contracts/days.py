"""The days that a request names without a year, and whether it leaves the time of day open (decision 0030). Pure."""

import re
from collections.abc import Iterable, Iterator
from datetime import datetime

_NAMES = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH = (
    r"(?P<month>Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sep(?:t(?:ember)?)?|"
    r"Oct(?:ober)?|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_DAY, _BEFORE, _NO_YEAR = r"(?P<day>\d{1,2})(?:st|nd|rd|th)?\b", r"(?<![\w.,:/$€£-])", r"(?!,? ?\d)(?![:/.-]\d)"
_YEARLESS = (
    re.compile(rf"{_BEFORE}{_MONTH} {_DAY}{_NO_YEAR}"),
    re.compile(rf"{_BEFORE}{_DAY}(?: of)? {_MONTH}{_NO_YEAR}"),
)
_A_TIME = re.compile(
    r"\d[:.h]\d\d\b|\d ?(?:am|pm|a\.m\.|p\.m\.|h|hrs|o'clock|uhr)\b|"
    r"\b(?:noon|midnight|midday|morning|afternoon|evening|night|tonight|breakfast|lunch|dinner|hour|hours)\b",
    re.IGNORECASE,
)
_ANOTHER_DAY = re.compile(
    r"\b(?:today|tonight|tomorrow|yesterday|weekend|(?:mon|tues|wednes|thurs|fri|satur|sun)days?)\b", re.IGNORECASE
)
_LEAP = 2000
"""A year that has every day."""


class Days:
    """What days one request names.

    Args:
        text: The request.
        dates: Those that it names in full, as ISO 8601 writes them.
    """

    def __init__(self, text: str, dates: Iterable[str]) -> None:
        self._dates = frozenset(dates)
        self._years = {each[:4] for each in self._dates}
        self._yearless = frozenset(_yearless(text))
        days = self._yearless | {each[5:] for each in self._dates}
        self._open = len(days) == 1 and not _A_TIME.search(text) and not _ANOTHER_DAY.search(text)

    def hold(self, date: str) -> bool:
        """Whether it is one of them; one without a year is in the years that the request names, or in any year."""
        if date in self._dates:
            return True
        return date[5:] in self._yearless and (not self._years or date[:4] in self._years)

    def leave_open(self, moment: datetime) -> bool:
        """Whether the user named one day, this moment's, and nothing of when on it."""
        return self._open and self.hold(moment.date().isoformat())


def _yearless(text: str) -> Iterator[str]:
    for pattern in _YEARLESS:
        for found in pattern.finditer(text):
            month = _NAMES.index(found["month"][:3]) + 1
            try:
                yield datetime(_LEAP, month, int(found["day"])).strftime("%m-%d")
            except ValueError:
                continue
