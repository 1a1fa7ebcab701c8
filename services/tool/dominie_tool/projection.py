"""What the tool service knows: the catalog, and the record values of each run."""

from collections import OrderedDict
from dataclasses import dataclass

from pydantic import BaseModel, JsonValue

from dominie_contracts import Recorded
from dominie_contracts.action import Finished, Integrity
from dominie_contracts.labels import Role, record_values, roles
from dominie_contracts.registry import parse_event
from dominie_contracts.tool import TOOL, ToolRegistered, ToolSpec
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
    roles: dict[str, Role]
    schema: InputSchema


def tool_of(state: State, spec: ToolSpec) -> Tool:
    """A tool's specification with what calling it needs, made once."""
    return Tool(state, spec, binding_version(spec), roles(spec.input_schema), InputSchema(spec.input_schema))


class Catalog:
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

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position = 0
        self._tools.clear()

    def find(self, tenant: str, name: str) -> Tool | None:
        """A tool of a tenant."""
        return self._tools.get((tenant, name))

    def all(self, tenant: str) -> list[ToolSpec]:
        """A tenant's tools, by name."""
        return [tool.spec for (owner, _), tool in sorted(self._tools.items()) if owner == tenant]


class _Outcome(BaseModel):
    result: JsonValue
    labels: dict[str, Integrity]


class _Told(BaseModel):
    """What is needed of the event `Finished`."""

    tenant: str
    correlationid: str | None = None
    data: _Outcome


class Records:
    """The record values of each run, from the category `tool`; of a run long gone, none, so nothing vouches."""

    def __init__(self) -> None:
        self.position = 0
        self._runs: OrderedDict[tuple[str, str], set[tuple[str, str]]] = OrderedDict()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        if event.type != _FINISHED:
            return
        told = _Told.model_validate_json(event.raw)
        if not told.data.labels or told.correlationid is None:
            return
        key = (told.tenant, told.correlationid)
        self._runs.setdefault(key, set()).update(record_values(told.data.result, told.data.labels))
        self._runs.move_to_end(key)
        if len(self._runs) > _RUNS:
            self._runs.popitem(last=False)

    def reset(self) -> None:
        """Forget everything, before a rebuild."""
        self.position = 0
        self._runs.clear()

    def of(self, tenant: str, run: str | None) -> set[tuple[str, str]]:
        """A run's record values, typed."""
        return self._runs.get((tenant, run or ""), set())
