"""What the tool service knows: the catalog."""

from collections.abc import Iterator
from dataclasses import dataclass

from dominie_contracts import Recorded
from dominie_contracts.action import Matter
from dominie_contracts.labels import Role, names_readers
from dominie_contracts.registry import parse_event
from dominie_contracts.tool import ToolRegistered, ToolSpec
from dominie_eventstore import InMemory
from dominie_kit.policy.asking import Typed
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.aggregate import State, binding_version, evolve


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
        self._restricting: set[str] = set()

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        if isinstance(payload, ToolRegistered):
            key = (event.envelope.tenant, payload.spec.name)
            self._tools[key] = tool_of(evolve(State(), payload), payload.spec)
            if names_readers(payload.spec.output_schema):
                self._restricting.add(event.envelope.tenant)

    def find(self, tenant: str, name: str) -> Tool | None:
        """A tool of a tenant."""
        return self._tools.get((tenant, name))

    def restricts(self, tenant: str) -> bool:
        """Whether any tool of a tenant ever said that not everybody may read its results."""
        return tenant in self._restricting

    def all(self, tenant: str) -> list[ToolSpec]:
        """A tenant's tools, by name."""
        return [tool.spec for (owner, _), tool in sorted(self._tools.items()) if owner == tenant]
