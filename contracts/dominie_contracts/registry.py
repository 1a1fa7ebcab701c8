"""Every command and event type there is, by name."""

from collections.abc import Mapping
from types import ModuleType

from pydantic import JsonValue

from dominie_contracts import audit, gateway, guardrail, identity, judge, memory, model, scheduler, tool
from dominie_contracts.base import Command, Payload
from dominie_contracts.envelope import Recorded
from dominie_contracts.problems import UnknownEvent
from dominie_contracts.versions import EventTypes, Superseded

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
_TYPES = EventTypes(pair for module in MODULES.values() for pair in module.EVENTS.items())
EVENTS: Mapping[str, type[Payload]] = _TYPES.current
SUPERSEDED: Mapping[str, Superseded] = _TYPES.superseded
"""Older versions of events, which the log may hold."""
OWNER: dict[str, str] = {category: service for service, module in MODULES.items() for category in module.EVENTS}
"""Which service owns a category of events."""


def event_type(category: str, payload: Payload | type[Payload]) -> str:
    """The type of a payload's event in a category: `tool.started.v1`."""
    return f"{category}.{payload.KIND}"


def upcast(type_: str, data: dict[str, JsonValue]) -> tuple[str, dict[str, JsonValue]]:
    """An event's type and data as they would be written now; those of a type that is not known as they are."""
    return _TYPES.upcast(type_, data)


def parse_event(type_: str, data: dict[str, JsonValue]) -> Payload | None:
    """An event's payload, an older version's as today's; None where the type is not known.

    Raises:
        pydantic.ValidationError: The type is known and the data do not fit it.
    """
    return _TYPES.parse(type_, data)


def check_known(event: Recorded) -> None:
    """Who owns an event must know its type: what is unknown was written by a newer version of the same service.

    Raises:
        UnknownEvent: It does not.
    """
    if not _TYPES.known(event.type):
        raise UnknownEvent(
            f"position {event.position} of stream {event.stream!r} holds a {event.type!r}, which this version does not "
            "know: a newer one has written to this log; upgrade this service, until then it writes nothing",
            event_type=event.type,
            position=event.position,
            stream=event.stream,
        )


def parse_own(event: Recorded) -> Payload:
    """The payload of an event that the reader's own service wrote.

    Raises:
        UnknownEvent: A newer version of it did.
        pydantic.ValidationError: The data do not fit the type.
    """
    check_known(event)
    payload = parse_event(event.envelope.type, event.envelope.data)
    assert payload is not None
    return payload
