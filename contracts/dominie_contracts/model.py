"""Commands and events of the model service. Category `model`, an action's trail; `offer`, one stream of offers."""

from typing import ClassVar, Literal

from pydantic import Field, JsonValue

from dominie_contracts.action import TRAIL, Noted, Priority, noted_in
from dominie_contracts.base import Command, Message, Payload

MODEL, OFFER = "model", "offer"
OFFERS = "main"
"""The id of the one stream of offers."""


class Chat(Command):
    """One chat completion, in OpenAI's shapes; the resource is the model's name here."""

    NAME: ClassVar[str] = "model.chat"
    messages: tuple[dict[str, JsonValue], ...] = Field(min_length=1)
    model: str = "auto"
    tools: tuple[dict[str, JsonValue], ...] = ()
    options: dict[str, JsonValue] = Field(default_factory=dict)
    """`tool_choice`, `temperature`, `max_tokens`, `response_format`, `stop`, `seed`, `top_p`, …"""
    stream: bool = False
    """Send the deltas to `out.{tenant}.{agent}.{run}` as they come."""
    stream_id: str | None = None
    """Marks the deltas of this call."""
    priority: Priority = "standard"
    max_cost_usd: float | None = Field(default=None, gt=0)


class Delta(Message):
    """One streamed chunk on `out.`: OpenAI's `chat.completion.chunk`, numbered from 0 in its call."""

    kind: Literal["delta"] = "delta"
    stream_id: str
    number: int
    chunk: dict[str, JsonValue]


class Completion(Message):
    """Reply to `Chat`: OpenAI's `chat.completion`, and what it cost."""

    completion: dict[str, JsonValue]
    model: str
    cost_usd: float | None
    input_tokens: int
    output_tokens: int
    waited_ms: float
    action: str


class ListModels(Command):
    """The models that are offered."""

    NAME: ClassVar[str] = "model.list"


class Offer(Message):
    """A model that agents can ask for by name."""

    name: str
    provider: str
    """The model behind it, as litellm names it."""
    slots: int = Field(ge=1)
    """How many calls at once."""


class Models(Message):
    """Reply to `ListModels`."""

    models: tuple[Offer, ...]


class ModelsOffered(Payload):
    """Written by the model service at its start when its offers have changed."""

    KIND: ClassVar[str] = "offered.v1"
    models: tuple[Offer, ...]


COMMANDS: tuple[type[Command], ...] = (Chat, ListModels)
EVENTS: dict[str, tuple[type[Payload], ...]] = {
    MODEL: TRAIL,
    noted_in(MODEL, "parked"): (Noted,),
    OFFER: (ModelsOffered,),
}
