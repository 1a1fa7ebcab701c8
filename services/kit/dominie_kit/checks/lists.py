"""Deny lists: files `deny.NAME.txt` beside the policies, a term a line, that find `deny.NAME`. Pure.

A term is found where its words stand one after the other, whatever their case and what is between them.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from dominie_contracts.guardrail import PolicyFile
from dominie_kit.checks.check import DENY
from dominie_kit.checks.texts import texts

MOST_WORDS = 8
_NAME = re.compile(r"deny\.([a-z0-9][a-z0-9-]*)\.txt")
_LOOKS_LIKE = re.compile(r"deny\..*\.txt")
_WORD = re.compile(r"\w+")
_COMMENT = "#"


@dataclass(frozen=True, slots=True)
class DenyList:
    """The terms of one list, each as its words."""

    kind: str
    terms: frozenset[tuple[str, ...]]

    @property
    def finds(self) -> tuple[str, ...]:
        """See `Check`."""
        return (self.kind,)

    @property
    def linear(self) -> bool:
        """See `Check`."""
        return True

    def look(self, text: str) -> Iterator[str]:
        """See `Check`."""
        words = _words(text)
        lengths = {len(term) for term in self.terms}
        if any(tuple(words[at : at + length]) in self.terms for at in range(len(words)) for length in lengths):
            yield self.kind


def is_list(name: str) -> bool:
    """Whether a file of a policy set is a deny list, be it a bad one."""
    return _LOOKS_LIKE.fullmatch(name) is not None


def read_lists(files: Iterable[PolicyFile]) -> Mapping[str, DenyList]:
    """The deny lists of a policy set by the kind that each finds; of two with one name, the terms of both.

    Raises:
        ValueError: One is none.
    """
    found: dict[str, DenyList] = {}
    for file in files:
        if is_list(file.name):
            read = read_list(file)
            before = found.get(read.kind)
            found[read.kind] = DenyList(read.kind, read.terms | (before.terms if before else frozenset()))
    return found


def list_kind(name: str) -> str | None:
    """What the deny list of a file finds; None: it is none, or is called wrongly."""
    named = _NAME.fullmatch(name)
    return named and f"{DENY}.{named[1]}"


def read_list(file: PolicyFile) -> DenyList:
    """One deny list.

    Raises:
        ValueError: Its name is none, it is empty, or a term has no word, or too many.
    """
    kind = list_kind(file.name)
    if kind is None:
        raise ValueError("a deny list is called deny.NAME.txt, with lower-case letters, digits and - in its name")
    lines = [line.strip() for line in file.text.splitlines()]
    terms = {line: tuple(_words(texts(line)[0].text)) for line in lines if line and not line.startswith(_COMMENT)}
    wrong = next((line for line, words in terms.items() if not 0 < len(words) <= MOST_WORDS), None)
    if wrong is not None:
        raise ValueError(f"the term {wrong!r} must have 1 to {MOST_WORDS} words")
    if not terms:
        raise ValueError("holds no term")
    return DenyList(kind, frozenset(terms.values()))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
