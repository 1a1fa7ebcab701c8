"""Commands and events of newservice. Category `newservice`, an action's trail and the note."""

from typing import ClassVar

from pydantic import Field

from dominie_contracts.action import TRAIL
from dominie_contracts.base import Command, Message, Payload

NEWSERVICE = "newservice"


class Note(Command):
    """Keep a note for everybody of the tenant."""

    NAME: ClassVar[str] = "newservice.note"
    text: str = Field(min_length=1, max_length=1_000)


class Noted(Payload):
    """Written by newservice when it keeps a note that it had not."""

    KIND: ClassVar[str] = "noted.v1"
    text: str


class NoteKept(Message):
    """Reply to `Note`."""

    action: str


class ListNotes(Command):
    """The tenant's notes that were kept last."""

    NAME: ClassVar[str] = "newservice.list"
    limit: int = Field(default=10, ge=1)


class Notes(Message):
    """Reply to `ListNotes`, oldest first."""

    texts: tuple[str, ...]


COMMANDS: tuple[type[Command], ...] = (ListNotes, Note)
EVENTS: dict[str, tuple[type[Payload], ...]] = {NEWSERVICE: (*TRAIL, Noted)}
