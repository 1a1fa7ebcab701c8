"""The record that a forked run is served from: audit says which of its parent's actions comes next, the log has it."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

from dominie_contracts import Command, Message, StreamName, Unavailable
from dominie_contracts.action import Decided, Finished
from dominie_contracts.audit import AskRecord, FromRecord
from dominie_contracts.digests import digest_json
from dominie_contracts.registry import parse_event
from dominie_contracts.summary import signature
from dominie_eventstore import EventStore
from dominie_kit.context import Context
from dominie_kit.work import Action, Request

R = TypeVar("R", bound=Message)


class Calls(Protocol):
    """The other services, as `dominie_kit.bus.Inner` reaches them."""

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        """Ask; raises the other side's problem."""
        ...


@dataclass(frozen=True, slots=True)
class Served:
    """How an action of the parent was decided, under which policies, and what came of it."""

    finished: Finished
    decided: Decided | None = None
    policy_version: str | None = None


class Past:
    """Finds what to serve to forked runs."""

    def __init__(self, store: EventStore, services: Calls) -> None:
        self._store = store
        self._services = services

    async def find(self, action: Action, request: Request) -> Served | None:
        """What the parent's record holds for an action; None where it is used up.

        Raises:
            Diverged: It holds something else next.
            Unavailable: Audit is away.
        """
        context, arguments = action.context, dict(request.arguments)
        ask = AskRecord(
            category=action.stream.category,
            action=action.id,
            command=request.command,
            resource=request.resource,
            arguments=digest_json(arguments),
            call=signature(request.command, request.resource, arguments),
        )
        found = await self._services.call(context, ask, FromRecord, key=f"{action.id}:record")
        if found.stream is None:
            return None
        return await self._read(StreamName.parse(found.stream), found.position)

    async def _read(self, stream: StreamName, position: int | None) -> Served:
        decided, policies = None, None
        for event in await self._store.read(stream):
            payload = parse_event(event.envelope.type, event.envelope.data)
            if isinstance(payload, Decided):
                decided, policies = payload, event.envelope.policy_version
            if isinstance(payload, Finished) and event.position == position:
                finished = payload.model_copy(update={"served_from": position})
                return Served(finished, decided, policies or event.envelope.policy_version)
        raise Unavailable(f"the record of {str(stream)!r} cannot be read", retry_after_s=1)
