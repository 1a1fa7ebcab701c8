"""What every service answers about itself, says every second on `hb.{service}`, and does for the operator."""

from typing import ClassVar, Literal

from dominie_contracts.base import Command, Message


class AskStatus(Command):
    """`svc.{service}.status`: how is it? For the operator."""

    NAME: ClassVar[str] = "status"


ReadModelState = Literal["current", "building", "rebuilding", "failed"]


class ReadModel(Message):
    """One read model; events, seconds and rate are those of its latest building from the log."""

    name: str
    state: ReadModelState
    """`building`: at its start, and cannot be asked yet. `rebuilding`: the one before it serves; so it does where the
    rebuild `failed`."""
    position: int
    """Of the last event that it holds."""
    percent: float
    events: int
    seconds: float
    rate_per_s: float
    why: str | None = None
    """Why it failed."""


class ServiceStatus(Message):
    """Reply to `AskStatus`, and the heartbeat."""

    service: str
    instance: str
    version: str
    pid: int
    started: str
    ready: bool
    rss_mb: float
    in_flight: int
    handled: int
    refused: int
    policy: str | None = None
    """The digest of the policy set it decides by (guardrail: the one in force)."""
    policy_position: int = 0
    read_models: tuple[ReadModel, ...] = ()
    forgotten: int = 0
    """The position of the last erasure of a person after which everything that it holds was built anew."""


class Rebuild(Command):
    """`svc.{service}.rebuild`: build a read model anew from the log, while the one there goes on serving.

    For the operator.
    """

    NAME: ClassVar[str] = "rebuild"
    read_model: str | None = None
    """All of the service's, if none is named."""


class Rebuilding(Message):
    """Reply to `Rebuild`, at once; `ServiceStatus` says how far it is."""

    read_models: tuple[str, ...]
