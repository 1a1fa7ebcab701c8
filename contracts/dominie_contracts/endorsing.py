"""A person's word that data are good: commands and events of the tool service, category `endorsement` (decision 0035).

One stream an endorsement: the action that asks for it, what was endorsed, and that it was revoked.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from dominie_contracts.base import Command, Json, Message, Payload
from dominie_contracts.personal import PERSONAL
from dominie_contracts.provenance import Integrity, Label

ENDORSEMENT = "endorsement"
MAX_NOTE_CHARS = 2_000
MAX_POINTER_CHARS = 1_000
Better = Literal["agent", "platform", "record", "user"]
"""What data can become. `user` is the run's own user's to say."""
Scope = Literal["run", "session", "tenant"]
"""Where it counts: in the run whose data they are, or in all runs of its session and its user; of a note, wherever that
is recalled."""
ActionId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class Endorse(Command):
    """From a person: a value that stands in a result, or in a note, has been looked at, and is good."""

    NAME: ClassVar[str] = "tool.endorse"
    of: ActionId
    """The action whose result it stands in, or which kept the note."""
    pointer: str = Field(default="", max_length=MAX_POINTER_CHARS)
    """Where (RFC 6901)."""
    value: JsonValue
    """What stands there; or, whole, in the text that does."""
    to: Better = "record"
    scope: Scope = "run"
    note: str = Field(min_length=1, max_length=MAX_NOTE_CHARS)
    """Why."""


class RevokeEndorsement(Command):
    """From who endorsed, the run's user, or a developer: it counts no more."""

    NAME: ClassVar[str] = "tool.revoke_endorsement"
    endorsement: ActionId
    note: str = Field(default="", max_length=MAX_NOTE_CHARS)


class ShowLabels(Command):
    """What the leaves of a result, or a note, are labelled. For those who may endorse it, developers and auditors."""

    NAME: ClassVar[str] = "tool.labels"
    of: ActionId
    pointer: str = Field(default="", max_length=MAX_POINTER_CHARS)
    """Of what stands there, and below."""
    after: int = Field(default=0, ge=0)
    """So many leaves are left out, where an earlier reply had them."""


class Endorsement(Message):
    """Reply to `Endorse` and `RevokeEndorsement`."""

    id: str
    source: str
    pointer: str
    value: JsonValue
    whole: bool
    was: Integrity
    to: Better
    scope: Scope
    by: str
    run: str
    note: str


class LabelledLeaf(Message):
    """One leaf of a result."""

    pointer: str
    value: JsonValue
    integrity: Integrity
    readers: tuple[str, ...] | None = None
    """None: anybody."""


class ShownLabels(Message):
    """Reply to `ShowLabels`."""

    source: str
    run: str
    user: str
    leaves: tuple[LabelledLeaf, ...]
    more: int = 0
    """So many leaves are left."""
    endorsements: tuple[Endorsement, ...] = ()
    """Those that stand."""


class Endorsed(Payload):
    """Written by the tool service when a person has endorsed a value, after what policies say to that."""

    KIND: ClassVar[str] = "endorsed.v1"
    id: str
    source: str
    """What it stands in: `tool:ACTION`, `memory:NOTE`."""
    pointer: Annotated[str, PERSONAL]
    value: Annotated[Json, PERSONAL]
    digest: str
    """Of the value (RFC 8785, keyed BLAKE2b under the user's key): it counts for no other one."""
    whole: bool
    """It is all that stands there, and not a part of a text."""
    was: Integrity
    label: Label
    """What it has become, who may still read it, and what it stands in."""
    scope: Scope
    by: str
    """The person."""
    groups: tuple[str, ...] = ()
    """Theirs then, as policies were told."""
    agent: str = ""
    """Which was given the value."""
    run: str
    user: str
    """Whose run it is."""
    session: str | None = None
    note: Annotated[str, PERSONAL]
    key: str
    """The digest of the idempotency key under which it was asked for."""


class EndorsementRevoked(Payload):
    """Written by the tool service when an endorsement counts no more."""

    KIND: ClassVar[str] = "revoked.v1"
    id: str
    by: str
    run: str
    note: Annotated[str, PERSONAL]


COMMANDS: tuple[type[Command], ...] = (Endorse, RevokeEndorsement, ShowLabels)
