"""Commands and events of the scheduler. Category `permit`, one stream a permit."""

from typing import ClassVar

from pydantic import Field, NonNegativeFloat, NonNegativeInt

from dominie_contracts.action import Priority
from dominie_contracts.base import Command, Message, Payload

PERMIT = "permit"


class AskPermit(Command):
    """From the model service: a slot for one model call; answered when it is this call's turn."""

    NAME: ClassVar[str] = "scheduler.permit"
    permit: str
    """The id of the action that asks; asking again with it is the same question."""
    tenant: str
    agent: str
    run: str | None
    model: str
    priority: Priority
    deadline_ms: NonNegativeInt
    """How long it may wait."""
    lease_ms: NonNegativeInt
    """How long it may hold the slot."""


class Permit(Message):
    """Reply to `AskPermit`."""

    permit: str
    waited_ms: NonNegativeFloat
    lease_until_ms: NonNegativeInt


class ReleasePermit(Command):
    """From the model service: the call has ended."""

    NAME: ClassVar[str] = "scheduler.release"
    permit: str
    tenant: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost_usd: float | None = None


class Released(Message):
    """Reply to `ReleasePermit`."""


class ListCeilings(Command):
    """What runs with a ceiling may spend, and have spent with all that are run on their behalf; the latest first.

    Developers and auditors see all of their tenant; other people those that act for them. A run shows up with its first
    model call.
    """

    NAME: ClassVar[str] = "scheduler.ceilings"
    run: str | None = None
    """How its id begins; None: any."""
    most: int = Field(default=200, ge=1, le=1000)


class CeilingUse(Message):
    """What one run may spend and has spent, in USD."""

    run: str
    agent: str
    user: str | None
    may_usd: NonNegativeFloat
    """As its latest call said: a ceiling can be raised."""
    spent_usd: NonNegativeFloat | None
    """None: more than anybody knows, since a call had no price."""
    under_way: NonNegativeInt
    """Model calls that are charged to it when they end."""


class Ceilings(Message):
    """Reply to `ListCeilings`."""

    ceilings: tuple[CeilingUse, ...]
    more: int = 0
    """Runs that were left off."""


class Charge(Message):
    """A run with a ceiling that a call is charged to."""

    run: str
    agent: str
    """Whose run it is."""
    may_usd: NonNegativeFloat


class PermitGranted(Payload):
    """Written by the scheduler when a call gets its slot."""

    KIND: ClassVar[str] = "granted.v1"
    permit: str
    model: str
    agent: str
    priority: Priority
    waited_ms: NonNegativeFloat
    lease_until_ms: NonNegativeInt
    charged: tuple[str, ...] = ()
    """The runs with a ceiling that the call is charged to, as `TENANT/RUN`: its own, and those that it is part of."""
    charges: tuple[Charge, ...] = ()
    """The same, with what each may spend."""


class PermitReleased(Payload):
    """Written by the scheduler when a call has ended."""

    KIND: ClassVar[str] = "released.v1"
    permit: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


COMMANDS: tuple[type[Command], ...] = (AskPermit, ReleasePermit, ListCeilings)
EVENTS: dict[str, tuple[type[Payload], ...]] = {PERMIT: (PermitGranted, PermitReleased)}
