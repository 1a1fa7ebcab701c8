"""What a user said in their request, and whether a whole value stands in it (decision 0030). Pure."""

import re
from datetime import UTC, datetime

from dominie_contracts.digests import digest_bytes
from dominie_contracts.provenance import Label
from dominie_contracts.typed import MAX_CHARS, MONEY, WRITTEN_DATES, Form, forms, plain

_TOKEN = re.compile(r"\S+")
_AROUND = "()[]{}<>\"'`.,;:!?*_"
_BEFORE, _AFTER = r"(?<![\w@.+\-/%])", r"(?![\w@]|[.\-/+,:%][\w@])"
"""What stands around a value that is whole: `acme.com` is not in `evil-acme.com`, nor in `acme.com.evil.org`."""


class Words:
    """The text of one request."""

    def __init__(self, text: str) -> None:
        digest = digest_bytes(text.encode())
        self.label = Label(integrity="user", sources=(f"request:{digest}",))
        self._text = plain(text)
        found = [each.strip(_AROUND) for each in _TOKEN.findall(self._text)]
        for pattern in (MONEY, *WRITTEN_DATES):
            found += [each.group() for each in pattern.finditer(self._text)]
        self._forms = frozenset(form for each in found for form in forms(each) if form.kind != "text")

    def hold(self, form: Form) -> bool:
        """Whether a value stands there, whole."""
        if form in self._forms or (form.kind == "time" and self._holds_moment(form)):
            return True
        if len(form.text) > MAX_CHARS:
            return False
        if form.kind == "iban":
            return self._has("[ -]?".join(map(re.escape, form.text)), re.IGNORECASE)
        return form.kind == "text" and self._has(re.escape(form.text))

    def _holds_moment(self, form: Form) -> bool:
        """Whether both the day and the time of day stand there, each whole: people seldom say them in one."""
        moment = datetime.fromtimestamp(float(form.text), UTC)
        day = Form("date", moment.date().isoformat())
        return moment.second == 0 and day in self._forms and self._has(moment.strftime("%H:%M"))

    def _has(self, pattern: str, flags: int = 0) -> bool:
        return re.search(_BEFORE + pattern + _AFTER, self._text, flags) is not None
