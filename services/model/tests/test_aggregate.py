"""Given what was offered, what is announced; and which calls cannot be made as they stand."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue

from dominie_contracts import Invalid
from dominie_contracts.model import Chat, ModelsOffered, Offer
from dominie_model.aggregate import State, decide, evolve, refuse, tool_names

OFFERS = st.lists(
    st.builds(Offer, name=st.sampled_from("ab"), provider=st.just("openai/x"), slots=st.integers(1, 2)), max_size=3
).map(tuple)


def chat(**more: Any) -> Chat:
    return Chat.model_validate({"messages": [{"role": "user", "content": "hello"}], **more})


def function(name: JsonValue) -> dict[str, JsonValue]:
    return {"type": "function", "function": {"name": name}}


@given(OFFERS, OFFERS)
def test_offers_are_announced_when_they_change(first: tuple[Offer, ...], second: tuple[Offer, ...]) -> None:
    (event,) = decide(State(), first)
    assert event == ModelsOffered(models=first)
    assert decide(evolve(State(), event), second) == ([] if first == second else [ModelsOffered(models=second)])


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"model": "gpt-9"}, "no model 'gpt-9' is offered; there are: auto, fast"),
        ({"max_cost_usd": 0.1}, "max_cost_usd needs budgets"),
        ({"stream": True}, "needs a stream_id"),
        ({"messages": [{"content": "hello"}]}, "must have a role"),
    ],
)
def test_a_call_that_cannot_be_made(more: dict[str, Any], said: str) -> None:
    problem = refuse(chat(**more), frozenset({"fast", "auto"}))
    assert isinstance(problem, Invalid)
    assert said in problem.detail


def test_a_call_that_can() -> None:
    assert refuse(chat(stream=True, stream_id="s"), frozenset({"auto"})) is None


def test_tools_are_named_once_and_in_order() -> None:
    assert tool_names((function("refund"), function("mail"), function("refund"))) == ["mail", "refund"]


@pytest.mark.parametrize("tool", [{}, {"function": "refund"}, function(None), function(7), {"name": "refund"}])
def test_a_tool_in_another_shape_is_invalid(tool: dict[str, JsonValue]) -> None:
    with pytest.raises(Invalid, match="each tool must be"):
        tool_names((tool,))
