"""A day that the user said without a year, and one that they said without a time of day."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts.typed import forms
from dominie_contracts.words import Words


def holds(request: str, value: str) -> bool:
    words = Words(request)
    return any(words.hold(form) for form in forms(value))


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ("Book it from January 11th to January 15th 2025.", ["2025-01-11", "2025-01-15"]),
        ("A desk for the 14th of November, please", ["2023-11-14", "2031-11-14"]),
        ("Remind me on Sept. 3", ["2026-09-03"]),
        ("on 29 February", ["2028-02-29"]),
        ("Is it free on 2 May or 3 May?", ["2026-05-02", "2026-05-03"]),
    ],
)
def test_a_day_without_a_year_is_one_of_any_that_the_request_does_not_rule_out(request_: str, said: list[str]) -> None:
    assert [each for each in said if not holds(request_, each)] == []


@pytest.mark.parametrize(
    ("request_", "other"),
    [
        ("Book it from January 11th to January 15th 2025.", "2026-01-11"),
        ("Book it from January 11th to January 15th 2025.", "2025-01-12"),
        ("A desk for the 14th of November 2024", "2023-11-14"),
        ("You may 5 times", "2026-05-05"),
        ("May 20:30 do?", "2026-05-20"),
        ("It costs $3 May be", "2026-05-03"),
        ("Build 1.2.3 May fail", "2026-05-03"),
        ("on 30 February", "2026-03-02"),
        ("Mayor 5 and Marching 6", "2026-05-05"),
        ("May 15, 2024", "2025-05-15"),
    ],
)
def test_no_other_day_is_meant(request_: str, other: str) -> None:
    assert not holds(request_, other)


@pytest.mark.parametrize("moment", ["2025-01-02 00:00", "2025-01-02T09:30:00", "2025-01-02T17:00Z"])
def test_who_says_one_day_and_no_time_of_day_leaves_it_open(moment: str) -> None:
    assert holds("Put a reminder for January 2nd 2025 into my calendar.", moment)


@pytest.mark.parametrize(
    "more",
    [
        "It is at 10:00.",
        "At 9 am!",
        "In the Evening",
        "around noon",
        "for dinner",
        "two hours long",
        "Or on January 3rd.",
        "or on 2025-02-01",
        "Not tomorrow.",
        "Else on Friday",
    ],
)
def test_who_says_anything_else_of_when_does_not(more: str) -> None:
    assert not holds(f"Put a reminder for January 2nd 2025 into my calendar. {more}", "2025-01-02 11:45")


def test_another_day_is_never_left_open() -> None:
    said = "Put a reminder for January 2nd 2025 into my calendar."
    assert not any(holds(said, each) for each in ("2025-01-03 09:00", "2026-01-02 09:00", "2025-01-02 09:00:30"))


@given(st.dates(), st.text(max_size=40))
def test_only_who_names_a_month_names_a_day(day: object, text: str) -> None:
    free = "".join(letter for letter in text if not letter.isalnum())
    assert not holds(f"{free} 7 {free}", str(day))
