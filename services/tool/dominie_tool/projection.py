"""What the tool service knows: the catalog, and the record values of each run."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

from dominie_contracts import Recorded, StreamName
from dominie_contracts.action import Finished, Matter
from dominie_contracts.labels import Role, may_hold_records, record_values, roles
from dominie_contracts.registry import parse_event
from dominie_contracts.tool import TOOL, ToolRegistered, ToolSpec
from dominie_eventstore import EventStore, InMemory
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.aggregate import State, binding_version, evolve

_RUNS = 20_000


@dataclass(frozen=True, slots=True)
class Tool:
    """A registered tool, ready to be called."""

    state: State
    spec: ToolSpec
    version: str
    """What a yes is bound to."""
    roles: dict[str, Role]
    schema: InputSchema
    notes: tuple[Matter, ...]
    """What others look for in the trails of its calls."""


def tool_of(state: State, spec: ToolSpec) -> Tool:
    """A tool's specification with what calling it needs, made once."""
    marked = roles(spec.input_schema)
    return Tool(
        state=state,
        spec=spec,
        version=binding_version(spec),
        roles=marked,
        schema=InputSchema(spec.input_schema),
        notes=tuple(_notes(spec, marked)),
    )


def _notes(spec: ToolSpec, marked: dict[str, Role]) -> Iterator[Matter]:
    if may_hold_records(spec.output_schema):
        yield "records"
    if spec.effect != "read" and "amount" in marked.values():
        yield "amounts"


class Catalog(InMemory):
    """A projection of the category `catalog`."""

    def __init__(self) -> None:
        self.position = 0
        self._tools: dict[tuple[str, str], Tool] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ToolRegistered):
            key = (event.envelope.tenant, payload.spec.name)
            self._tools[key] = tool_of(evolve(State(), payload), payload.spec)

    def find(self, tenant: str, name: str) -> Tool | None:
        """A tool of a tenant."""
        return self._tools.get((tenant, name))

    def all(self, tenant: str) -> list[ToolSpec]:
        """A tenant's tools, by name."""
        return [tool.spec for (owner, _), tool in sorted(self._tools.items()) if owner == tenant]


class Records(InMemory):
    """The record values of each run: the notes say which actions may hold some, their trails what they are.

    Of a run long gone it knows none, so nothing vouches.
    """

    def __init__(self, store: EventStore) -> None:
        self.position = 0
        self._store = store
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in a note."""
        self.position = event.position
        if event.envelope.correlation_id is None:
            return
        key = (event.envelope.tenant, event.envelope.correlation_id)
        self._runs.setdefault(key, _Run()).open.add(StreamName.parse(event.stream).id)
        self._runs.move_to_end(key)
        if len(self._runs) > _RUNS:
            self._runs.popitem(last=False)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)(self._store)

    async def of(self, tenant: str, run: str | None) -> set[tuple[str, str]]:
        """A run's record values, typed; an action that has not finished has none yet.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        found = self._runs.get((tenant, run or ""))
        if found is None:
            return set()
        open_ = tuple(found.open)
        trails = await asyncio.gather(*(self._store.read(StreamName(tenant, TOOL, action)) for action in open_))
        for action, trail in zip(open_, trails, strict=True):
            finished = _finished(trail)
            if finished is not None:
                found.values |= record_values(finished.result, finished.labels)
                found.open.discard(action)
        return found.values


@dataclass(slots=True)
class _Run:
    """What is known of one run's records."""

    values: set[tuple[str, str]] = field(default_factory=set)
    open: set[str] = field(default_factory=set)
    """Actions whose outcome was not seen yet."""


def _finished(trail: Sequence[Recorded]) -> Finished | None:
    payload = parse_event(trail[-1].type, trail[-1].envelope.data) if trail else None
    return payload if isinstance(payload, Finished) else None
