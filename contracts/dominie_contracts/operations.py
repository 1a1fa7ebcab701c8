"""What every service answers about itself, and says every second on `hb.{service}`."""

from typing import ClassVar

from dominie_contracts.base import Command, Message


class AskStatus(Command):
    """`svc.{service}.status`: how is it? For the operator."""

    NAME: ClassVar[str] = "status"


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
