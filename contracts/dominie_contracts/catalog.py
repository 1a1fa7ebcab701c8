"""What the registry says of a tool beside its specification: its versions, who may call it, and its deprecation."""

from typing import ClassVar

from pydantic import Field, NonNegativeInt

from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.servers import Effect

_LAST_S = 253_402_300_799
"""The end of the year 9999."""


class DeprecateTool(Command):
    """Say that a tool should not be used any more. For its owner, or a developer."""

    NAME: ClassVar[str] = "tool.deprecate"
    name: str
    why: str = Field(default="", max_length=500)
    """What to use instead."""
    until_s: int | None = Field(default=None, ge=0, le=_LAST_S)
    """Unix time in seconds from which it is refused; until then, and where there is none, it answers with a warning."""
    withdraw: bool = False
    """It may be used again."""


class ToolDeprecated(Payload):
    """Written by the tool service when somebody deprecates a tool, or takes that back; a new version begins anew."""

    KIND: ClassVar[str] = "deprecated.v1"
    name: str
    version: str
    why: str
    until_s: NonNegativeInt | None
    by: str
    withdrawn: bool = False

    def refuses(self, now_s: float) -> bool:
        """Whether the tool is refused at a time."""
        return self.until_s is not None and now_s >= self.until_s

    @property
    def words(self) -> str:
        """What whoever calls the tool is told."""
        return f"{self.name!r} version {self.version} is deprecated" + (f": {self.why}" if self.why else "")


class Deprecated(Message):
    """Reply to `DeprecateTool`."""

    name: str
    version: str
    changed: bool


class ShowTool(Command):
    """One tool, with all that the registry has of it. For a developer."""

    NAME: ClassVar[str] = "tool.show"
    name: str


class ToolVersion(Message):
    """A version of a tool as it was registered."""

    version: str
    effect: Effect
    owner: str
    registered: str
    """When, in ISO 8601."""


COMMANDS: tuple[type[Command], ...] = (DeprecateTool, ShowTool)
