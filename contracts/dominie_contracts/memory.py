"""Commands and events of memory. Category `memory`, an action's trail and what was remembered."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from dominie_contracts.action import TRAIL, Noted, noted_in
from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.personal import PERSONAL
from dominie_contracts.provenance import Label

MEMORY = "memory"
MAX_TEXT_CHARS = 20_000


class Remember(Command):
    """Keep a text in a namespace; the resource is the namespace."""

    NAME: ClassVar[str] = "memory.remember"
    namespace: str = "user"
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)


class Remembered(Payload):
    """Written by memory when a text is kept."""

    KIND: ClassVar[str] = "remembered.v1"
    id: str
    namespace: str
    subject: str
    """Whose memory it is: the user."""
    text: Annotated[str, PERSONAL]
    label: Label | None = None
    """Of all that its run had been given then; None: it was kept before that was noted, so it is untrusted."""


class Kept(Message):
    """Reply to `Remember` and `AddTurn`."""

    id: str


class Recall(Command):
    """The texts of a namespace that fit a question best; the resource is the namespace."""

    NAME: ClassVar[str] = "memory.recall"
    namespace: str = "user"
    query: str = Field(min_length=1, max_length=2_000)
    limit: int = Field(default=5, ge=1, le=50)


class Memory(Message):
    """One text, and how well it fits (BM25; larger is better)."""

    id: str
    text: str
    score: float
    time: str
    label: Label = Label(integrity="untrusted")
    """What it was made from."""


class Memories(Message):
    """Reply to `Recall`, best first."""

    memories: tuple[Memory, ...]


Role = Literal["user", "assistant"]


class AddTurn(Command):
    """Keep one turn of the run's session."""

    NAME: ClassVar[str] = "memory.add_turn"
    role: Role
    text: str = Field(min_length=1, max_length=MAX_TEXT_CHARS)


class TurnAdded(Payload):
    """Written by memory when a turn of a session is kept."""

    KIND: ClassVar[str] = "turn_added.v1"
    id: str
    session: str
    subject: str
    role: Role
    text: Annotated[str, PERSONAL]
    label: Label | None = None
    """As in `Remembered`."""


class ListTurns(Command):
    """The last turns of the run's session."""

    NAME: ClassVar[str] = "memory.turns"
    limit: int = Field(default=10, ge=1, le=200)


class Turn(Message):
    """One turn of a session."""

    role: Role
    text: str
    time: str
    label: Label = Label(integrity="untrusted")
    """What it was made from."""


class Turns(Message):
    """Reply to `ListTurns`, oldest first."""

    turns: tuple[Turn, ...]


COMMANDS: tuple[type[Command], ...] = (AddTurn, ListTurns, Recall, Remember)
EVENTS: dict[str, tuple[type[Payload], ...]] = {
    MEMORY: (*TRAIL, Remembered, TurnAdded),
    noted_in(MEMORY, "parked"): (Noted,),
}
