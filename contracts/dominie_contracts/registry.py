"""Every command and event type there is, by name."""

from types import ModuleType

from pydantic import JsonValue

from dominie_contracts import audit, gateway, guardrail, identity, judge, memory, model, scheduler, tool
from dominie_contracts.base import Command, Payload

MODULES: dict[str, ModuleType] = {
    "identity": identity,
    "guardrail": guardrail,
    "scheduler": scheduler,
    "model": model,
    "tool": tool,
    "memory": memory,
    "judge": judge,
    "audit": audit,
    "gateway": gateway,
}
COMMANDS: dict[str, type[Command]] = {kind.NAME: kind for module in MODULES.values() for kind in module.COMMANDS}
EVENTS: dict[str, type[Payload]] = {
    f"{category}.{kind.KIND}": kind
    for module in MODULES.values()
    for category, kinds in module.EVENTS.items()
    for kind in kinds
}
OWNER: dict[str, str] = {category: service for service, module in MODULES.items() for category in module.EVENTS}
"""Which service owns a category of events."""


def event_type(category: str, payload: Payload) -> str:
    """The type of a payload's event in a category: `tool.started.v1`."""
    return f"{category}.{payload.KIND}"


def parse_event(type_: str, data: dict[str, JsonValue]) -> Payload | None:
    """An event's payload; None where the type is not known.

    Raises:
        pydantic.ValidationError: The type is known and the data do not fit it.
    """
    kind = EVENTS.get(type_)
    return None if kind is None else kind.model_validate(data)
