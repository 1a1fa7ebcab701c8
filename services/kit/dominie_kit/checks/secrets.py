"""Keys, tokens and passwords in a text, by the formats that their issuers document. Pure.

No pattern begins within a run that it would read to its end, so that none takes longer than the text is.
"""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar

_PATTERNS: Mapping[str, re.Pattern[str]] = {
    "secret.private-key": re.compile(r"-----BEGIN (?:[A-Z]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    "secret.aws-access-key": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "secret.github-token": re.compile(r"\b(?:gh[oprsu]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{36,255})"),
    "secret.gitlab-token": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}"),
    "secret.google-api-key": re.compile(r"\bAIza[A-Za-z0-9_-]{35}"),
    "secret.model-vendor-key": re.compile(r"\bsk-(?:[A-Za-z0-9]{2,10}-){0,2}[A-Za-z0-9_-]{20}"),
    "secret.slack-token": re.compile(r"\bxox[abeoprs]-[A-Za-z0-9-]{10}"),
    "secret.stripe-key": re.compile(r"\b[rs]k_(?:live|test)_[A-Za-z0-9]{16}"),
    "secret.jwt": re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10}"),
    "secret.nkey-seed": re.compile(r"\bS[ACNOUX][A-Z2-7]{56}\b"),
    "secret.gateway-key": re.compile(r"\bdk_[A-Za-z0-9_-]{32}"),
    "secret.password": re.compile(
        r"\b(?:api[_-]?key|access[_-]?key|secret|password|passwd|token)\b[\"']?\s{0,9}[:=]\s{0,9}[\"']?"
        r"(?=[A-Za-z0-9+/_.-]*\d)(?=[A-Za-z0-9+/_.-]*[A-Za-z])[A-Za-z0-9+/_.-]{16}",
        re.IGNORECASE,
    ),
}


class Secrets:
    """Finds keys, tokens and passwords."""

    finds: ClassVar[tuple[str, ...]] = tuple(_PATTERNS)
    linear: ClassVar[bool] = True

    def look(self, text: str) -> Iterator[str]:
        """See `Check`."""
        return (kind for kind, pattern in _PATTERNS.items() if pattern.search(text))
