"""What every message has in common: frozen, strict about unknown fields, plain JSON."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, JsonValue, WithJsonSchema

if TYPE_CHECKING:
    Json = JsonValue
else:
    Json = Annotated[Any, WithJsonSchema({})]
    """A value that was JSON before: pydantic's `JsonValue`, which asks Python about each part of it again."""


class Message(BaseModel):
    """A frozen value that crosses the bus; an unknown field is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", allow_inf_nan=False)


class Command(Message):
    """Something asked of a service; `NAME` is `{service}.{command}`."""

    NAME: ClassVar[str]


Upcast = Callable[[dict[str, JsonValue]], dict[str, JsonValue]]
"""From the data of one version of an event to those of the next. Pure, and total: what was written stays readable."""


class Payload(Message):
    """What an event says; the event's type is `{category}.{KIND}`, and `KIND` ends in a version.

    Who changes what an event says raises the version, and says in `UPCASTS` how the one before becomes it.
    """

    KIND: ClassVar[str]
    UPCASTS: ClassVar[tuple[Upcast, ...]] = ()
    """From version 1 to 2, from 2 to 3, …, up to this one."""
