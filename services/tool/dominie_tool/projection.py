"""What the tool service knows: the catalog, and the record values of each run."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

from pydantic import BaseModel

from dominie_contracts import Recorded
from dominie_contracts.action import Finished, Matter
from dominie_contracts.labels import Role, record_values
from dominie_contracts.registry import parse_event
from dominie_contracts.tool import TOOL, ToolRegistered, ToolSpec
from dominie_eventstore import InMemory
from dominie_kit.policy.asking import Typed
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.aggregate import State, binding_version, evolve

_RUNS = 20_000
_FINISHED = f"{TOOL}.{Finished.KIND}"


@dataclass(frozen=True, slots=True)
class Tool:
    """A registered tool, ready to be called."""

    state: State
    spec: ToolSpec
    version: str
    """What a yes is bound to."""
    typed: Typed
    """What policies are told of its calls."""
    schema: InputSchema
    notes: tuple[Matter, ...]
    """What others look for in the trails of its calls."""


def tool_of(state: State, spec: ToolSpec) -> Tool:
    """A tool's specification with what calling it needs, made once."""
    typed = Typed.of(spec)
    return Tool(
        state=state,
        spec=spec,
        version=binding_version(spec),
        typed=typed,
        schema=InputSchema(spec.input_schema),
        notes=tuple(_notes(spec, typed.roles)),
    )


def _notes(spec: ToolSpec, marked: dict[str, Role]) -> Iterator[Matter]:
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


class _Outcome(BaseModel):
    labels: dict[str, str]
    """By pointer, or sealed; empty where there are none."""


class _Told(BaseModel):
    """What is needed of the event `Finished` before anybody asks for its records."""

    tenant: str
    correlationid: str | None = None
    data: _Outcome


class Records(InMemory):
    """The record values of each run, from the category `tool`; of a run long gone, none, so nothing vouches.

    An outcome that holds some is kept as it came, and read when a tool is called that has use for them.
    """

    def __init__(self) -> None:
        self.position = 0
        self._runs: OrderedDict[tuple[str, str], _Run] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if event.type != _FINISHED:
            return
        told = _Told.model_validate_json(event.raw)
        if not told.data.labels or told.correlationid is None:
            return
        key = (told.tenant, told.correlationid)
        self._runs.setdefault(key, _Run()).unread.append(event)
        self._runs.move_to_end(key)
        if len(self._runs) > _RUNS:
            self._runs.popitem(last=False)

    def fresh(self) -> Self:
        """One that knows nothing."""
        return type(self)()

    def of(self, tenant: str, run: str | None) -> set[tuple[str, str]]:
        """A run's record values, typed."""
        found = self._runs.get((tenant, run or ""))
        if found is None:
            return set()
        for event in found.unread:
            finished = parse_event(event.type, event.envelope.data)
            if isinstance(finished, Finished):
                found.values |= record_values(finished.result, finished.labels)
        found.unread.clear()
        return found.values


@dataclass(slots=True)
class _Run:
    """What is known of one run's records."""

    values: set[tuple[str, str]] = field(default_factory=set)
    unread: list[Recorded] = field(default_factory=list)
