"""Commands and events of the scheduler. Category `permit`, one stream a permit."""

from typing import ClassVar

from pydantic import NonNegativeFloat, NonNegativeInt

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


class PermitReleased(Payload):
    """Written by the scheduler when a call has ended."""

    KIND: ClassVar[str] = "released.v1"
    permit: str
    model: str
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


COMMANDS: tuple[type[Command], ...] = (AskPermit, ReleasePermit)
EVENTS: dict[str, tuple[type[Payload], ...]] = {PERMIT: (PermitGranted, PermitReleased)}
