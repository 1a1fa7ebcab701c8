"""What the tool service knows: the catalog."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from dominie_contracts import Invalid, Problem, Recorded, StreamName
from dominie_contracts.action import Matter
from dominie_contracts.catalog import ToolDeprecated
from dominie_contracts.labels import Role, names_readers
from dominie_contracts.registry import parse_event
from dominie_contracts.servers import PREFIX, Server, parts
from dominie_contracts.tool import ToolRegistered, ToolRemoved, ToolSpec
from dominie_eventstore import InMemory
from dominie_kit.policy.asking import Typed
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.aggregate import State, binding_version, evolve
from dominie_tool.mcp import aggregate as mcp


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
    deprecated: ToolDeprecated | None = None
    """Since when it should not be used any more, and why."""

    @property
    def warning(self) -> str:
        """What callers are told of one that should not be used any more."""
        found = self.deprecated
        if found is None:
            return ""
        if found.until_s is None:
            return found.words
        return f"{found.words}; it is refused from {datetime.fromtimestamp(found.until_s, UTC):%Y-%m-%d %H:%M} UTC on"


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
        self._servers: dict[tuple[str, str], mcp.State] = {}

    def apply(self, event: Recorded) -> None:
        """Take in an event."""
        self.position = event.position
        payload = parse_event(event.envelope.type, event.envelope.data)
        tenant = event.envelope.tenant
        if isinstance(payload, ToolRegistered):
            if names_readers(payload.spec.output_schema):
                self._restricting.add(tenant)
            self._tools[tenant, payload.spec.name] = tool_of(evolve(State(), payload), payload.spec)
        elif isinstance(payload, ToolDeprecated) and (tenant, payload.name) in self._tools:
            known = self._tools[tenant, payload.name]
            self._tools[tenant, payload.name] = replace(known, deprecated=None if payload.withdrawn else payload)
        elif isinstance(payload, ToolRemoved):
            self._tools.pop((tenant, payload.name), None)
        stream = StreamName.parse(event.envelope.stream).id
        if payload is not None and stream.startswith(PREFIX):
            key = (tenant, stream.removeprefix(PREFIX))
            self._servers[key] = mcp.evolve(self._servers.get(key, mcp.State()), payload)

    def find(self, tenant: str, name: str) -> Tool | None:
        """A tool of a tenant."""
        return self._tools.get((tenant, name))

    def restricts(self, tenant: str) -> bool:
        """Whether any tool of a tenant ever said that not everybody may read its results."""
        return tenant in self._restricting

    def all(self, tenant: str) -> list[Tool]:
        """A tenant's tools, by name."""
        return [tool for (owner, _), tool in sorted(self._tools.items(), key=lambda each: each[0]) if owner == tenant]

    def server(self, tenant: str, name: str) -> mcp.State:
        """An MCP server of a tenant as it stands."""
        return self._servers.get((tenant, name), mcp.State())

    def servers(self, tenant: str) -> list[mcp.State]:
        """A tenant's MCP servers, by name."""
        found = sorted(self._servers.items())
        return [state for (owner, _), state in found if owner == tenant and state.accepted is not None]

    def server_of(self, tenant: str, tool: Tool) -> Server | None:
        """The MCP server that a tool is of."""
        accepted = self._state_of(tenant, tool).accepted
        return accepted.server if accepted else None

    def closed(self, tenant: str, tool: Tool) -> Problem | None:
        """Why nobody may call a tool: its time is over, or its MCP server is not what was accepted."""
        if tool.deprecated is not None and tool.deprecated.refuses(time.time()):
            return Invalid(f"{tool.deprecated.words}; it is refused by now")
        changed = self._state_of(tenant, tool).changed
        return mcp.review_required(parts(tool.spec.name)[0], changed.differs) if changed else None

    def _state_of(self, tenant: str, tool: Tool) -> mcp.State:
        return self.server(tenant, parts(tool.spec.name)[0]) if tool.spec.kind == "mcp" else mcp.State()
