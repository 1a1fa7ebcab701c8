"""What every message has in common: frozen, strict about unknown fields, plain JSON."""

from typing import ClassVar

from pydantic import BaseModel, ConfigDict


class Message(BaseModel):
    """A frozen value that crosses the bus; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", allow_inf_nan=False)


class Command(Message):
    """Something asked of a service; `NAME` is `{service}.{command}`."""

    NAME: ClassVar[str]


class Payload(Message):
    """What an event says; the event's type is `{category}.{KIND}`, and `KIND` ends in a version."""

    KIND: ClassVar[str]
