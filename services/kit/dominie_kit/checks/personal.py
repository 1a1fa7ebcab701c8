"""Personal data in a text, of the kinds that have a form of their own; with a check digit where there is one. Pure.

Names and addresses of people have no such form: nothing here finds them.
"""

import re
from collections.abc import Callable, Mapping
from typing import ClassVar

_IBAN_LENGTHS: Mapping[str, int] = {
    word[:2]: int(word[2:])
    for word in (
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 "
        "ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 "
        "LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 "
        "PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 "
        "YE30"
    ).split()
}
"""Characters by country (ISO 13616, SWIFT's registry)."""
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_IBAN = re.compile(r"(?<![A-Za-z0-9])(?=([A-Za-z]{2}\d{2}(?:[ -]?[A-Za-z0-9]){11,31}))")
_CARD = re.compile(
    r"(?<![\w.,-])(?=([2-6](?:\d{12,18}|\d{3}([ -])\d{4}\2\d{4}\2\d{4}(?:\2\d{3})?|\d{3}([ -])\d{6}\3\d{4,5}))"
    r"(?![\w-]))"
)
_DIGITS = re.compile(r"\d\d")
"""Every kind but one has two digits beside each other."""
_PHONE = re.compile(r"(?<![\w+])\+[1-9](?:[ ().-]{0,2}\d){7,14}(?!\w)")
_US_SSN = re.compile(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d\d-(?!0000)\d{4}(?![\w-])")


class Personal:
    """Finds e-mail addresses, bank accounts, card numbers, telephone numbers, US social security numbers."""

    finds: ClassVar[tuple[str, ...]] = ("pii.email", "pii.iban", "pii.card", "pii.phone", "pii.us-ssn")
    linear: ClassVar[bool] = True

    def look(self, text: str) -> list[str]:
        """See `Check`."""
        if _DIGITS.search(text):
            return [kind for kind, holds in _HOLDS.items() if holds(text)]
        return ["pii.email"] if _HOLDS["pii.email"](text) else []


def holds_card(text: str) -> bool:
    """Whether a text holds the number of a payment card."""
    return any(_is_card(found[1]) for found in _CARD.finditer(text))


def _is_card(text: str) -> bool:
    """Whether the check digit holds (Luhn, ISO/IEC 7812-1), and the digits are not all the same."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _is_iban(text: str) -> bool:
    """Whether a text begins with an IBAN: its country's length, and the check digits hold (ISO 7064, MOD 97-10)."""
    length, found = _IBAN_LENGTHS.get(text[:2].upper(), 0), ""
    for at, char in enumerate(text):
        found += char if char.isalnum() else ""
        if len(found) == length:
            ends = not text[at + 1 : at + 2].isalnum()
            return ends and int("".join(str(int(each, 36)) for each in found[4:] + found[:4])) % 97 == 1
    return False


_HOLDS: Mapping[str, Callable[[str], bool]] = {
    "pii.email": lambda text: "@" in text and _EMAIL.search(text) is not None,
    "pii.iban": lambda text: any(_is_iban(found[1]) for found in _IBAN.finditer(text)),
    "pii.card": holds_card,
    "pii.phone": lambda text: "+" in text and _PHONE.search(text) is not None,
    "pii.us-ssn": lambda text: "-" in text and _US_SSN.search(text) is not None,
}
