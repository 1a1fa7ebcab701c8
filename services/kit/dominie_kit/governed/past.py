"""The record that a forked run is served from: audit says which of its parent's actions comes next, the log has it."""

from dataclasses import dataclass, replace
from typing import Protocol, TypeVar, get_args

from dominie_contracts import Command, Message, StreamName, Unavailable
from dominie_contracts.action import Decided, Finished, Matter, noted_in
from dominie_contracts.audit import AskRecord, FromRecord
from dominie_contracts.digests import digest_json
from dominie_contracts.registry import OWNER, parse_event
from dominie_contracts.summary import signature
from dominie_eventstore import EventStore
from dominie_kit.context import Context
from dominie_kit.governed.work import Action, Request

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
    notes: tuple[Matter, ...] = ()
    """What others look for in its trail."""


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
        stream = StreamName.parse(found.stream)
        return replace(await self._read(stream, found.position), notes=await self._notes(stream))

    async def _notes(self, stream: StreamName) -> tuple[Matter, ...]:
        found = list[Matter]()
        for matter in get_args(Matter):
            category = noted_in(stream.category, matter)
            noted = matter != "parked" and category in OWNER
            if noted and await self._store.read(StreamName(stream.tenant, category, stream.id)):
                found.append(matter)
        return tuple(found)

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
