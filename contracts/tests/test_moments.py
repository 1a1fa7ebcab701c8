"""A moment is the user's where they said its day and its time of day, and not where they said another's."""

import pytest

from dominie_contracts.typed import forms
from dominie_contracts.words import Words

SAID = "Am I free for lunch at 12:00 on 2024-05-19, or at 16:30? If not, move it to May 21st, 2024."


@pytest.mark.parametrize("moment", ["2024-05-19 12:00", "2024-05-19T16:30:00", "2024-05-21 12:00", "2024-05-19T12:00Z"])
def test_a_day_and_a_time_that_were_said_are_a_moment(moment: str) -> None:
    assert any(Words(SAID).hold(form) for form in forms(moment))


@pytest.mark.parametrize(
    "moment", ["2024-05-20 12:00", "2024-05-19 13:00", "2024-05-19 00:00", "2024-05-19 12:00:30", "2025-05-19 12:00"]
)
def test_another_day_or_time_is_none(moment: str) -> None:
    assert not any(Words(SAID).hold(form) for form in forms(moment))


def test_a_part_of_a_time_is_none() -> None:
    words = Words("On 2024-05-19 the code is 112:00, or 12:001")
    assert not any(words.hold(form) for form in forms("2024-05-19 12:00"))


@pytest.mark.parametrize(
    ("said", "moment"),
    [
        ("Put a reminder for January 2nd 2025 into my calendar.", "2025-01-02 03:33"),
        ("Our meeting is on May 15", "2099-05-15T03:33:00"),
        ("Remind me on May 15 at 12:00", "2099-05-15 12:00"),
        ("A desk for May 15, please", "2099-05-15"),
    ],
)
def test_what_they_left_open_is_not_theirs(said: str, moment: str) -> None:
    assert not any(Words(said).hold(form) for form in forms(moment))


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_a_moment_that_no_clock_shows_is_nobodys(moment: str) -> None:
    assert not any(Words(SAID).hold(form) for form in forms(moment))
