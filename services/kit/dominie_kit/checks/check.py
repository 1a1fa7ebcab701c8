"""What a check is: a plug-in, found by the entry point `dominie.checks`, that says what it finds in a text."""

import re
from collections.abc import Iterable
from typing import Protocol

GROUP = "dominie.checks"
UNCHECKED = "unchecked"
"""Found where a check that was asked for could not look."""
DENY, INJECTION = "deny", "injection"
"""The checks that are no plug-ins: the deny lists of a policy set, and a model that is asked."""
KIND = re.compile(r"(?P<check>[a-z0-9][a-z0-9-]*)(?:\.[a-z0-9][a-z0-9-]*)?")


class Check(Protocol):
    """One check. Its findings are kinds, `NAME` or `NAME.KIND` of its own name, and never hold the text."""

    @property
    def finds(self) -> tuple[str, ...]:
        """Every kind that it may find."""
        ...

    @property
    def linear(self) -> bool:
        """Whether its time grows with the text alone, so that it may look within the service; else it is apart."""
        ...

    def look(self, text: str) -> Iterable[str]:
        """What it finds in a text (NFKC, without invisible characters)."""
        ...


def check_of(kind: str) -> str:
    """The name of the check that finds a kind."""
    return kind.partition(".")[0]
