"""Given events, when a command, then events."""

from dominie_contracts.newservice import Note, Noted
from dominie_newservice.aggregate import State, decide, evolve

HELLO = Noted(text="hello")


def test_a_new_note_is_kept() -> None:
    assert decide(State(), Note(text="hello")) == [HELLO]


def test_a_note_that_is_kept_is_not_kept_again() -> None:
    assert decide(evolve(State(), HELLO), Note(text="hello")) == []


def test_two_who_keep_the_same_at_once_keep_it_once() -> None:
    assert evolve(evolve(State(), HELLO), HELLO) == State(("hello",))
