"""The words of an event, and the terms that stand for them in the index: each tenant has its own."""

import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from unicodedata import normalize

from pydantic import JsonValue

from dominie_contracts.digests import digest_bytes
from dominie_kit.keys.files import write_once

Term = Callable[[str, str], str]
"""From a tenant and a word: what the index holds instead of the word; letters and digits alone."""

_WRITTEN = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Kana and Chinese characters, which no spaces part."""
_WORD = re.compile(rf"[{_WRITTEN}]|[^\W_{_WRITTEN}]+")
_SAID = {
    "requested.v1": ("resource", "arguments"),
    "decided.v1": ("why", "asks"),
    "finished.v1": ("result", "problem"),
    "unknown.v1": ("why",),
    "answered.v1": ("note",),
    "judged.v1": ("votes",),
    "remembered.v1": ("text",),
    "turn_added.v1": ("text",),
    "revoked.v1": ("reason",),
}
"""What is asked, answered, remembered, noted or voted: fields of an event's data, by its kind."""


def words(text: str) -> set[str]:
    """The words of a text, in one case and one spelling (Unicode NFKC); a Chinese character or a kana is a word."""
    return set(_WORD.findall(normalize("NFKC", text).casefold()))


def said(type_: str, data: dict[str, JsonValue]) -> set[str]:
    """The words of an event, from texts and numbers; names of fields are none."""
    fields = _SAID.get(type_.partition(".")[2], ())
    return words("\n".join(text for field in fields for text in _texts(data.get(field))))


def own_terms(path: Path) -> Term:
    """Terms under a key of audit's own: without that file nobody can tell which words the index holds.

    It is none of identity's keys, so that audit follows and checks the log when identity is away.
    """
    if not path.exists():
        write_once(path, secrets.token_hex(32))
    key = bytes.fromhex(path.read_text().strip())

    def term(tenant: str, word: str) -> str:
        return digest_bytes(f"{tenant} {word}".encode(errors="surrogatepass"), key=key)[:16]

    return term


def _texts(value: JsonValue) -> Iterator[str]:
    left = [value]
    while left:
        match left.pop():
            case str(text):
                yield text
            case dict(fields):
                left += fields.values()
            case list(items):
                left += items
            case bool() | None:
                pass
            case number:
                yield str(number)
