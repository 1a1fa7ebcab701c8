"""The gateway has no commands and writes no events: it speaks HTTP and asks the others."""

from dominie_contracts.base import Command, Payload

COMMANDS: tuple[type[Command], ...] = ()
EVENTS: dict[str, tuple[type[Payload], ...]] = {}
