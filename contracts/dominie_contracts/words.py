"""What a user said in their request, and whether a whole value stands in it (decision 0030). Pure."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice

from dominie_contracts.digests import digest_bytes
from dominie_contracts.provenance import Label
from dominie_contracts.typed import MAX_CHARS, MONEY, WRITTEN_DATES, Form, forms, plain

_TYPED = re.compile(r"[\d@]|://")
_IBAN_LEAST = 15
_IBAN = re.compile(r"(?<![\w@.+\-/%])(?=([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,30}))")
_TOKEN = re.compile(r"\S+")
_AROUND = "()[]{}<>\"'`.,;:!?*_"
_MOST = 2_000
"""Values of one request that are known as more than their letters."""
_TRIES = 100
"""Places of one value that are looked at."""
_BEFORE, _AFTER = map(re.compile, (r"(?<![\w@.+\-/%])(?<!\d,)", r"(?![\w@]|[.\-/+,:%][\w@])"))
"""What stands around a value that is whole: `acme.com` is not in `evil-acme.com`, nor in `acme.com.evil.org`."""


class Words:
    """The text of one request."""

    def __init__(self, text: str) -> None:
        digest = digest_bytes(text.encode())
        self.label = Label(integrity="user", sources=(f"request:{digest}",))
        self._text = plain(text)
        found = [each.strip(_AROUND) for each in dict.fromkeys(_TOKEN.findall(self._text)) if _TYPED.search(each)]
        for pattern in (MONEY, *WRITTEN_DATES):
            found += [each.group() for each in islice(pattern.finditer(self._text), _MOST)]
        found += islice(self._ibans(), _MOST)
        self._forms = frozenset(form for each in found[:_MOST] for form in forms(each) if form.kind != "text")

    def hold(self, form: Form) -> bool:
        """Whether a value stands there, whole."""
        if form in self._forms or (form.kind == "time" and self._holds_moment(form)):
            return True
        return form.kind == "text" and len(form.text) <= MAX_CHARS and self._has(form.text)

    def _ibans(self) -> Iterator[str]:
        """All that may be one, of each length, since what stands behind it may look like more of it."""
        for found in _IBAN.finditer(self._text):
            for end in range(_IBAN_LEAST, len(found[1]) + 1):
                if _AFTER.match(self._text, found.start() + end):
                    yield found[1][:end]

    def _holds_moment(self, form: Form) -> bool:
        """Whether both the day and the time of day stand there, each whole: people seldom say them in one."""
        try:
            moment = datetime.fromtimestamp(float(form.text), UTC)
        except (ValueError, OverflowError):  # its year is 0, or 10000: an offset led there
            return False
        day = Form("date", moment.date().isoformat())
        return moment.second == 0 and day in self._forms and self._has(moment.strftime("%H:%M"))

    def _has(self, value: str) -> bool:
        """Whether it is whole at one of the first places where it stands."""
        at = -1
        for _ in range(_TRIES):
            at = self._text.find(value, at + 1)
            if at < 0:
                return False
            if _BEFORE.match(self._text, at) and _AFTER.match(self._text, at + len(value)):
                return True
        return False
