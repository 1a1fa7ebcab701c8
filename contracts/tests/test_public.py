"""What the package shows, and the rules that every type in it keeps."""

import re

import pytest

import dominie_contracts
from dominie_contracts import Command, Payload
from dominie_contracts.registry import COMMANDS, EVENTS, MODULES, event_type, parse_event


def test_the_public_names() -> None:
    assert dominie_contracts.__all__ == [
        "ApprovalRequired",
        "BudgetExceeded",
        "Command",
        "CommandSubject",
        "Conflict",
        "DeadlineExceeded",
        "Diverged",
        "Draft",
        "Envelope",
        "Forbidden",
        "Grants",
        "Held",
        "Invalid",
        "Message",
        "Payload",
        "Problem",
        "ProblemDetails",
        "QuotaExceeded",
        "Recorded",
        "ReviewRequired",
        "RunClaims",
        "StreamName",
        "ToolFailed",
        "Unauthenticated",
        "Unavailable",
    ]
    assert [name for name in dominie_contracts.__all__ if not hasattr(dominie_contracts, name)] == []


@pytest.mark.parametrize("kind", COMMANDS.values(), ids=COMMANDS)
def test_a_command_is_a_frozen_value_of_its_service(kind: type[Command]) -> None:
    assert kind.model_config.get("frozen")
    assert kind.model_config.get("extra") == "forbid"
    assert kind in MODULES[kind.NAME.split(".")[0]].COMMANDS
    assert kind.__doc__


@pytest.mark.parametrize("kind", sorted(set(EVENTS.values()), key=str))
def test_an_event_is_a_frozen_value_with_a_version_that_says_who_writes_it(kind: type[Payload]) -> None:
    assert kind.model_config.get("frozen")
    assert kind.model_config.get("extra") == "forbid"
    assert re.fullmatch(r"[a-z][a-z_]*\.v[1-9]\d*", kind.KIND)
    assert (kind.__doc__ or "").startswith("Written ")


def test_no_two_commands_or_events_share_a_name() -> None:
    assert len(COMMANDS) == sum(len(module.COMMANDS) for module in MODULES.values())
    assert len(EVENTS) == sum(len(kinds) for module in MODULES.values() for kinds in module.EVENTS.values())


@pytest.mark.parametrize("type_", EVENTS)
def test_an_event_is_read_as_what_it_was_written(type_: str) -> None:
    kind = EVENTS[type_]
    assert event_type(type_.split(".")[0], kind.model_construct()) == type_


def test_an_unknown_type_is_nobodys() -> None:
    assert parse_event("tool.dreamt.v1", {}) is None
