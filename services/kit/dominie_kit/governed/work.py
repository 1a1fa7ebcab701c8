"""What an action is made of: the request, the work it does, how that went, and its record so far."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from pydantic import JsonValue

from dominie_contracts import Payload, Problem, StreamName
from dominie_contracts.action import ActionState, Finished, Matter, Priority
from dominie_contracts.provenance import Integrity
from dominie_kit.context import Context

LEASE_S = 5.0


class NotDone(Exception):
    """Raised by work whose effect surely did not happen; the action may be tried again."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


class Lost(Exception):
    """Raised by work of which nobody can tell whether its effect happened."""


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked, as the trail records it."""

    command: str
    arguments: Mapping[str, JsonValue]
    resource: str | None = None
    version: str = "1"
    """Of the tool, where there is one: a yes is bound to it."""
    session: str | None = None
    priority: Priority = "standard"
    labels: Mapping[str, Integrity] = field(default_factory=dict)
    """Where each argument came from, by its name."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the work went: the last event of the trail, and what the service adds before it."""

    finished: Finished
    more: tuple[Payload, ...] = ()


@dataclass(frozen=True, slots=True)
class Work:
    """What an allowed action does.

    With `effect`, `started` is durable before `run` is called; without, the whole trail is one append.
    `repeatable`: it may run again when its outcome was lost.
    """

    run: Callable[["Action"], Awaitable[Outcome | None]]
    """None: the outcome comes later, from elsewhere; only with `effect`."""
    effect: bool = False
    repeatable: bool = True
    owner: str | None = None
    """Who runs it, where that is not this service: the same one asking again is told to go on."""
    lease_s: float = LEASE_S
    """Renewed while this service runs it, so that a dead one is soon relieved."""
    enforcement: Literal["isolated", "worker", "cooperative", "service"] = "service"
    layers: tuple[str, ...] = ()
    """What isolates it: said by `started`, or by the outcome where there is none."""
    notes: tuple[Matter, ...] = ()
    """What others look for in its trail: noted before its outcome is written."""


@dataclass(slots=True)
class Action:
    """One action: its stream, and what has happened in it."""

    stream: StreamName
    context: Context
    state: ActionState = field(default_factory=ActionState)
    agent: str | None = None
    """The principal that asked for it, once its record was read."""
    live: bool = False
    """Of a forked run, and beyond what its parent's record holds."""
    beside: list[Payload] = field(default_factory=list)
    """What its work adds to the trail before the outcome, should that be a failure, or nobody know it."""

    @property
    def id(self) -> str:
        """The id of the stream."""
        return self.stream.id
