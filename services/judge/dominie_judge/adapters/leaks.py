"""Keys, tokens and card numbers in a text. Pure.

Formats that their issuers document; a finding names the kind and never repeats the value, since a vote is recorded.
"""

import re

_KEYS: dict[str, re.Pattern[str]] = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "a GitHub token": re.compile(r"\b(?:gh[oprsu]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{36,255})"),
    "a GitLab token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20,}"),
    "a Google API key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "a model vendor's key": re.compile(r"\bsk-(?:[A-Za-z0-9]{2,10}-){0,2}[A-Za-z0-9_-]{20,}"),
    "a Slack token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}"),
    "a Stripe key": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16,}"),
    "a signed token (JWT)": re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}"),
    "an nkey's seed": re.compile(r"\bS[ACNOUX][A-Z2-7]{56}\b"),
    "a key of this system": re.compile(r"\bdk_[A-Za-z0-9_-]{32,}"),
    "a credential": re.compile(
        r"\b(?:api[_-]?key|access[_-]?key|secret|password|passwd|token)\b[\"']?\s*[:=]\s*[\"']?"
        r"(?=[A-Za-z0-9+/_.-]*\d)(?=[A-Za-z0-9+/_.-]*[A-Za-z])[A-Za-z0-9+/_.-]{16,}",
        re.IGNORECASE,
    ),
}
_CARD = re.compile(r"(?<![\w.,-])[2-6](?:[ -]?\d){12,18}(?![\w-])")


def secret(text: str) -> str | None:
    """What secret the text seems to hold, by kind; None if none."""
    found = next((kind for kind, pattern in _KEYS.items() if pattern.search(text)), None)
    if found is None and any(_is_card(match.group()) for match in _CARD.finditer(text)):
        return "a card number"
    return found


def _is_card(text: str) -> bool:
    """Whether the check digit holds (Luhn, ISO/IEC 7812-1), and the digits are not all the same."""
    digits = [int(char) for char in text if char.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return len(set(digits)) > 1 and sum(doubled) % 10 == 0
