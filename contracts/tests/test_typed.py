"""The forms of values: what is written in two ways is one value, and what only looks alike is not."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts.typed import Form, forms, plain, sums

JSON = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("GB29 NWBK 6016 1331 9268 19", "gb29nwbk60161331926819"),
        ("Ada@Example.com", "ada@example.COM"),
        ("HTTPS://Example.com:443", "https://example.com/"),
        ("1,000.50", "1.000,50"),
        ("1 000.50", 1000.5),
        ("1'000'000", 1_000_000),
        ("1,000", 1000),
        ("$40", "40.00 USD"),
        ("40 dollars", "€ 40"),
        ("2026-11-21", "21 November 2026"),
        ("Nov 21st, 2026", "21.11.2026"),
        ("2026-11-21T10:00:00+01:00", "2026-11-21T09:00Z"),
        ("Ada\u200b  Lovelace\u00ad", " Ada Lovelace"),
        ("\uff21da", "Ada"),
        (7, "7"),
        (7.0, 7),
        ("0,123", 0.123),
        ("0.50", 0.5),
    ],
)
def test_one_value_in_two_ways(one: JsonValue, other: JsonValue) -> None:
    assert forms(one) & forms(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.com", "\u0430da@example.com"),  # a Cyrillic a
        ("1.000", "1000"),
        ("1,5", "15"),
        ("0012345678", "12345678"),
        ("0012345678", "00012345678"),
        ("0012345678", 12345678),
        ("026.0", "26"),
        ("0,123", 123),
        ("0 123", 123),
        ("1,000,50", "100050"),
        ("$40", 40),
        ("03/04/2026", "2026-04-03"),
        ("31.02.2026", "2026-02-28"),
        ("https://example.com/a", "https://example.com/A"),
        ("https://example.com@evil.org/", "https://example.com/"),
        ("http://example.com/", "https://example.com/"),
        ("http://[fd00::1]:8080/x", "http://[fd00::1:8080]/x"),
        ("A1", "a1"),
        ("-5", "5"),
        (True, 1),
        (None, ""),
        ("ada@example.com, eve@example.org", "ada@example.com"),
    ],
)
def test_two_values_that_look_alike(one: JsonValue, other: JsonValue) -> None:
    assert not forms(one) & forms(other)


def test_what_says_nothing_has_no_form() -> None:
    nothing: list[JsonValue] = ["", " \u200b", None, True, False, {}, []]
    assert [forms(each) for each in nothing] == [frozenset()] * 7


def test_an_amount_of_cents_is_found_as_dollars() -> None:
    assert sums(4000, "minor") & forms("$40") and sums(4000, "minor") & forms("40.00")
    assert sums(4000, "minor") & forms(4000) and not sums(4000, "minor") & forms("$4,000")
    assert sums(98.7, "major") & forms("98.70 EUR") and not sums(40, "major") & forms("$4,000")
    assert not sums(True, "minor") and sums("40", "minor") == forms("40")


@given(JSON)
def test_forms_are_of_the_value_alone_and_normal(value: JsonValue) -> None:
    found = forms(value)
    assert found == forms(value)
    assert all(form.text and plain(form.text) == form.text for form in found)
    if isinstance(value, str):
        assert plain(plain(value)) == plain(value) and forms(plain(value)) == found


@given(st.integers(-(10**12), 10**12), st.integers(0, 99))
def test_a_number_is_itself_however_its_thousands_are_parted(whole: int, cents: int) -> None:
    english = f"{whole:,}.{cents:02}"
    german = english.translate(str.maketrans(",.", ".,"))
    want = {form for form in forms(f"{whole}.{cents:02}") if form.kind == "number"}
    assert want <= forms(english) and want <= forms(german)


def test_hostile_text_is_text() -> None:
    for text in ("9" * 100_000, "1,111" * 20_000, "a@" * 5_000, "1e999", "http://[", "0000-99-99", "\ud800"):
        assert {form.kind for form in forms(text)} == {"text"}
    assert Form("number", "0") in forms("-0.00")
