"""What is left of a person is found wherever it stands, and what says nothing of them is not taken for it."""

from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_audit.adapters.erasure.residue import Needles, held, pieces_of, pieces_of_key, residue
from dominie_kit.sealing import new_key

SAID: JsonValue = {"text": "Dana Whitlock lives at 17 Gooseberry Lane", "order": "ZX-99412", "plain": "refund"}
KEY = new_key("u-dana")


def needles(clear: bytes = b"") -> Needles:
    return Needles([*pieces_of([SAID], clear), *pieces_of_key(KEY)])


@pytest.mark.parametrize(
    "left",
    [
        b"Dana Whitlock",
        b"at 17 Gooseberry",
        b"\0\0ZX-99412\0",
        KEY.secret.encode(),
        b64decode(KEY.secret),
        b64decode(KEY.secret).hex().encode(),
    ],
    ids=["a text", "its middle", "a number", "a key", "its bytes", "its hex"],
)
@pytest.mark.parametrize("before", [0, 5, (1 << 20) - 4, (1 << 20) + 3])
def test_what_is_left_is_found_in_any_place(tmp_path: Path, left: bytes, before: int) -> None:
    (tmp_path / "memory").mkdir()
    (tmp_path / "memory" / "acme.sqlite").write_bytes(b"x" * before + left + b"y" * 40)
    (tmp_path / "clean").write_bytes(b"Dan Whitl at 17 Goo ZX-9941 refund" * 9)
    assert residue(tmp_path, needles()) == (2, ("memory/acme.sqlite",))
    assert held(tmp_path, needles()) == {"memory": 1}


@pytest.mark.parametrize(
    "harmless",
    [b"refund", b"text", b"order", KEY.id.encode(), b"Gooseberry"],
    ids=["a word", "a field", "another", "a key's id", "a long word"],
)
def test_what_says_nothing_is_not_taken_for_it(tmp_path: Path, harmless: bytes) -> None:
    (tmp_path / "file").write_bytes(b"x" * 20 + harmless + b"x" * 20)
    assert residue(tmp_path, needles()) == (1, ())


def test_what_also_stands_in_the_clear_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"the order ZX-99412 of somebody")
    assert residue(tmp_path, needles(clear=b'"resource":"ZX-99412"'))[1] == ()


@given(st.binary(min_size=8, max_size=30), st.binary(max_size=50), st.binary(max_size=50))
def test_a_needle_is_found_between_any_bytes(
    tmp_path_factory: pytest.TempPathFactory, needle: bytes, one: bytes, other: bytes
) -> None:
    path = tmp_path_factory.mktemp("residue") / "file"
    path.write_bytes(one + needle + other)
    assert Needles([needle]).stand_in(path)
    path.write_bytes(one + other)
    assert Needles([needle]).stand_in(path) == (needle in one + other)


@given(st.lists(st.text("ab1 ", max_size=30), max_size=5), st.text("ab1 ", max_size=60))
def test_what_stands_in_the_clear_is_told_as_if_each_piece_was_looked_for(texts: list[str], clear: str) -> None:
    everything = pieces_of(texts, b"")
    assert pieces_of(texts, clear.encode()) == {piece for piece in everything if piece not in clear.encode()}
