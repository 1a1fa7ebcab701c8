"""Words are found as people type them, and each tenant's are its own."""

from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_audit.adapters.index.terms import said, words
from dominie_audit.projection import Log
from dominie_contracts.action import Finished
from dominie_contracts.audit import Search
from dominie_contracts.memory import Remembered
from dominie_kit.handler_testing import term

Write = Callable[..., Awaitable[int]]
Read = Callable[[Log], Awaitable[Log]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Where is order A-1?", {"where", "is", "order", "a", "1"}),
        ("dana@example.org", {"dana", "example", "org"}),
        ("STRASSE Stra\u00dfe", {"strasse"}),
        ("\uff21\uff11 cafe\u0301", {"a1", "caf\u00e9"}),
        ("\u8fd4\u91d1OK", {"\u8fd4", "\u91d1", "ok"}),
        ("_ \x00 \"*'", set()),
    ],
)
def test_words(text: str, found: set[str]) -> None:
    assert words(text) == found


@given(st.text())
def test_the_words_of_words_are_the_same(text: str) -> None:
    once = words(text)
    assert words(" ".join(once)) == once


def test_what_was_said_is_in_values_however_deep() -> None:
    result: JsonValue = {"paid": [{"order": "A1", "cents": 9000, "late": True, "note": None}]}
    assert said("tool.finished.v1", {"result": [result], "outcome": "ok"}) == {"a1", "9000"}
    assert said("tool.later.v9", {"result": "A1"}) == set()


def test_tenants_have_no_term_in_common() -> None:
    assert term("acme", "refund") != term("globex", "refund")
    assert term("acme", "refund").isalnum()


@pytest.mark.anyio
async def test_no_word_is_held_as_it_was_written(write: Write, read: Read) -> None:
    await write("memory", "m1", Remembered(id="m1", namespace="user", subject="u-dana", text="peppermint"))
    with Log(term=term) as log:
        await read(log)
        (held,) = zip(*log.db.execute("SELECT block FROM words_data"), strict=True)
        assert term("acme", "peppermint").encode()[:8] in b"".join(held)
        assert b"peppermint" not in b"".join(held)


@pytest.mark.anyio
async def test_the_terms_are_those_that_it_is_given(write: Write, read: Read) -> None:
    await write("tool", "a1", Finished(outcome="ok", result="peppermint", duration_ms=1))
    with Log(term=lambda tenant, word: f"k{len(word)}") as log:
        await read(log)
        assert len(log.search("acme", Search(text="ten letter"), limit=9)) == 0
        assert len(log.search("acme", Search(text="tenletters"), limit=9)) == 1
