"""Labels: how far data can be trusted, who may read them, and where they came from. Pure (decision 0030).

A source is the action whose outcome holds the data, `CATEGORY:ID`: an action ends once, so this names one event. The
words of the user are `request:DIGEST`.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Literal

from pydantic import Field

from dominie_contracts.base import Message
from dominie_contracts.typed import plain

Integrity = Literal["user", "record", "platform", "agent", "untrusted"]
"""Best first. `user`: their own words in this request. `record`: from a system that only the owner's people write to.
`platform`: Dominie itself. `agent`: a model's, or a program's, from nothing worse. `untrusted`: anybody's."""
LEVELS: Mapping[Integrity, int] = {"untrusted": 0, "agent": 1, "platform": 2, "record": 3, "user": 4}
MAX_SOURCES = 32
REST = "sha256:"
"""Before the digest of the sources that are not named."""
_SEVERAL = re.compile(r"[\s,;<>\"()@:]")
"""What stands before the last `@` where it is not one address alone."""


class Label(Message):
    """What is known of one value, or of several together."""

    integrity: Integrity
    readers: tuple[str, ...] | None = None
    """Whoever may read it: `dana@example.com`, or `@example.com` for everybody there. None: anybody."""
    sources: tuple[str, ...] = Field(default=(), max_length=MAX_SOURCES + 1)
    """32 at most, the worst first; then `sha256:` and the digest of the others, sorted, a line each."""
    doubtful: bool = Field(default=False, exclude_if=lambda doubtful: not doubtful)
    """A better source has the value, too, but it is short and something untrusted says it: it may be from either."""

    @property
    def level(self) -> int:
        """0 (untrusted) to 4 (the user's)."""
        return LEVELS[self.integrity]


NOTHING = Label(integrity="user")
"""The label of no data: whatever it is joined with stays as it is."""


def join(labels: Iterable[Label]) -> Label:
    """Of several: the worst integrity, who may read all of it, every source; doubtful if all of the worst are."""
    found = sorted(labels, key=lambda label: label.level)
    if len(found) < 2:
        return found[0] if found else NOTHING
    readers: tuple[str, ...] | None = None
    for label in found:
        readers = both(readers, label.readers)
    sources = bounded(source for label in found for source in label.sources)
    doubtful = all(label.doubtful for label in found if label.level == found[0].level)
    return Label(integrity=found[0].integrity, readers=readers, sources=sources, doubtful=doubtful)


def bounded(sources: Iterable[str]) -> tuple[str, ...]:
    """Sources as a label has them: the first 32, and a digest of the others."""
    found = list(dict.fromkeys(sources))
    named = [source for source in found if not source.startswith(REST)]
    rest = sorted([*named[MAX_SOURCES:], *(source for source in found if source.startswith(REST))])
    if not rest:
        return tuple(named)
    if len(rest) == 1 and rest[0].startswith(REST):
        return (*named[:MAX_SOURCES], rest[0])
    return (*named[:MAX_SOURCES], REST + hashlib.sha256("\n".join(rest).encode()).hexdigest())


def both(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """Who may read what has the readers of both."""
    if one is None or other is None:
        return other if one is None else one
    kept = [*(each for each in one if may_read(each, other)), *(each for each in other if may_read(each, one))]
    return tuple(sorted(set(kept)))


def may_read(who: str, readers: tuple[str, ...] | None) -> bool:
    """Whether somebody is among the readers, by their own address or by its domain."""
    if readers is None:
        return True
    name, known = _said(who), _known(readers)
    local, at, domain = name.rpartition("@")
    return name in known or (bool(local) and f"{at}{domain}" in known and not _SEVERAL.search(local))


@lru_cache(256)
def _known(readers: tuple[str, ...]) -> frozenset[str]:
    return frozenset(map(_said, readers))


def _said(name: str) -> str:
    """As it is compared: not case-folded, since ß and ss are two domains."""
    return plain(name).lower()
