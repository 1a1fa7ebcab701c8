"""Offers, and what a completion becomes on the record. Pure."""

from dataclasses import dataclass

from pydantic import JsonValue

from dominie_contracts import Invalid
from dominie_contracts.model import Chat, ModelsOffered, Offer


@dataclass(frozen=True, slots=True)
class State:
    """The models that were offered last."""

    models: tuple[Offer, ...] | None = None


def decide(state: State, offers: tuple[Offer, ...]) -> list[ModelsOffered]:
    """Offers are announced when they change."""
    return [] if offers == state.models else [ModelsOffered(models=offers)]


def evolve(state: State, event: ModelsOffered) -> State:
    """The offers after one more event."""
    return State(event.models)


def refuse(command: Chat, offered: frozenset[str]) -> Invalid | None:
    """Why a call cannot be made as it stands; None if it can."""
    if command.model not in offered:
        return Invalid(f"no model {command.model!r} is offered; there are: {', '.join(sorted(offered))}")
    if command.max_cost_usd is not None:
        return Invalid("max_cost_usd needs budgets, which this version has not; leave it out")
    if not all(isinstance(message.get("role"), str) for message in command.messages):
        return Invalid("each message must have a role: {'role': 'user', 'content': …}")
    if command.stream and command.stream_id is None:
        return Invalid("a streamed call needs a stream_id")
    return None


def tool_names(tools: tuple[dict[str, JsonValue], ...]) -> list[JsonValue]:
    """The names of the functions that a call offers the model.

    Raises:
        Invalid: A tool is not in OpenAI's shape.
    """
    names: set[str] = set()
    for tool in tools:
        function = tool.get("function")
        name = function.get("name") if isinstance(function, dict) else None
        if not isinstance(name, str):
            raise Invalid("each tool must be {'type': 'function', 'function': {'name': …, …}}")
        names.add(name)
    return list(sorted(names))
