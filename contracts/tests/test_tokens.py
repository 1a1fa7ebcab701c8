"""Any text as one subject token, and back; each text has one spelling."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Invalid
from dominie_contracts.tokens import MAX_TOKEN_BYTES, decode_token, encode_token

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=16)


@given(TEXTS)
def test_what_is_encoded_can_be_decoded(text: str) -> None:
    assert decode_token(encode_token(text)) == text


@given(TEXTS)
def test_a_token_is_one_token_of_a_subject(text: str) -> None:
    token = encode_token(text)
    assert token.isascii() and token.isprintable()
    assert not set(token) & set(".*> $")


@given(st.text(max_size=30))
def test_a_token_has_one_spelling(text: str) -> None:
    try:
        decoded = decode_token(text)
    except Invalid:
        return
    assert encode_token(decoded) == text


@pytest.mark.parametrize(
    ("text", "token"),
    [
        ("gpt-4.1", "gpt-4%2E1"),
        ("a b", "a%20b"),
        ("*", "%2A"),
        (">", "%3E"),
        ("~", "%7E"),
        ("ü", "%C3%BC"),
        ("%", "%25"),
    ],
)
def test_how_it_is_spelt(text: str, token: str) -> None:
    assert encode_token(text) == token


@pytest.mark.parametrize("text", ["", "a" * (MAX_TOKEN_BYTES + 1), "ü" * 34, "\ud800"])
def test_what_cannot_be_a_token(text: str) -> None:
    with pytest.raises(Invalid):
        encode_token(text)


@pytest.mark.parametrize(
    "token",
    ["", "a.b", "*", ">", "a b", "%", "%2", "%2e", "%61", "%FF", "%ED%A0%80", "ü", "a\n", "a" * (MAX_TOKEN_BYTES + 1)],
)
def test_what_is_no_token(token: str) -> None:
    with pytest.raises(Invalid):
        decode_token(token)
