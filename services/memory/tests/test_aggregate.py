"""Given nothing or something kept, when a text is to be kept, then this is written."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_contracts import Invalid
from dominie_contracts.memory import AddTurn, Remember, Remembered, TurnAdded
from dominie_contracts.seen import MADE
from dominie_memory.aggregate import State, check_namespace, decide, evolve, memory_scope, turn_scope

TEXTS = st.text(min_size=1, max_size=50)
COMMANDS = st.builds(Remember, namespace=st.just("user"), text=TEXTS) | st.builds(
    AddTurn, role=st.sampled_from(["user", "assistant"]), text=TEXTS
)


def test_a_memory_is_kept() -> None:
    command = Remember(namespace="user", text="prefers e-mail")
    kept = Remembered(id="1", namespace="user", subject="u-dana", text="prefers e-mail", label=MADE)
    assert decide(State(), command, id="1", user="u-dana") == [kept]


def test_a_turn_is_kept() -> None:
    command = AddTurn(role="user", text="hello")
    kept = TurnAdded(id="1", session="t-17", subject="u-dana", role="user", text="hello", label=MADE)
    assert decide(State(), command, id="1", user="u-dana", session="t-17") == [kept]


@pytest.mark.parametrize("text", [" ", "\n\t", "\u00a0"])
def test_blank_text_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="blank"):
        decide(State(), Remember(text=text), id="1", user="u-dana")


def test_a_turn_without_a_session_is_refused() -> None:
    with pytest.raises(Invalid, match="session"):
        decide(State(), AddTurn(role="user", text="hello"), id="1", user="u-dana")


@pytest.mark.parametrize("namespace", ["", "User", "1st", "a b", "a*", "a" * 65, "user\n"])
def test_what_cannot_be_a_namespace(namespace: str) -> None:
    with pytest.raises(Invalid, match="namespace"):
        check_namespace(namespace)


def test_the_private_namespace_is_each_users_own_and_others_are_shared() -> None:
    assert memory_scope("user", "u-dana") != memory_scope("user", "u-erin")
    assert memory_scope("shared", "u-dana") == memory_scope("shared", "u-erin")
    assert turn_scope("t-1", "u-dana") != turn_scope("t-1", "u-erin")


@given(COMMANDS)
def test_a_duplicate_changes_nothing(command: Remember | AddTurn) -> None:
    if not command.text.strip():
        return
    (kept,) = decide(State(), command, id="1", user="u-dana", session="t-17")
    state = evolve(State(), kept)
    assert decide(state, command, id="1", user="u-dana", session="t-17") == []
    assert evolve(state, kept) == state
