"""The catalog: who may register which tool, and when a registration is a new version. Pure."""

from dataclasses import dataclass, field
from typing import Literal

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.catalog import DeprecateTool, ToolDeprecated
from dominie_contracts.digests import digest_json
from dominie_contracts.egress import Network
from dominie_contracts.servers import PREFIX
from dominie_contracts.tool import Profile, RegisterTool, ToolRegistered, ToolSpec
from dominie_tool.egress.hosts import covers


@dataclass(frozen=True, slots=True)
class State:
    """A tool's registration in force; none when `spec` is None."""

    spec: ToolSpec | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Registrant:
    """Who registers: an owner of tools, perhaps a developer, who may take over what another developer owns.

    `most` is what a sandboxed tool of theirs may ask for.
    """

    principal: str
    may: bool
    developer: bool
    most: Profile = field(default_factory=Profile)


def decide(state: State, command: RegisterTool, by: Registrant) -> list[ToolRegistered]:
    """Registering what stands changes nothing.

    Raises:
        Forbidden: Not a worker granted this name, nor a developer; or another owns the tool; or it asks for more than
            its owner may.
        Invalid: The specification contradicts itself.
    """
    spec = command.spec
    if not by.may:
        raise Forbidden(f"{by.principal} may not register {spec.name!r}")
    if state.owner not in (None, by.principal) and not by.developer:
        raise Forbidden(f"{spec.name!r} belongs to {state.owner}")
    if spec.kind == "mcp" or spec.name.startswith(PREFIX):
        raise Invalid(f"{spec.name!r}: an MCP server's tools are registered by `dominie mcp add`, and they alone")
    if spec.kind == "local":
        raise Invalid("a local tool is not registered: it runs in the agent's own process")
    if (spec.kind == "sandboxed") != (spec.source is not None and spec.function is not None):
        raise Invalid("a sandboxed tool, and no other, needs `source` and `function`")
    if spec.profile is not None and spec.kind != "sandboxed":
        raise Invalid("a profile is for a sandboxed tool: others run where nobody bounds them")
    if spec.profile is not None and spec.profile.network != "none" and spec.profile.backend == "runsc":
        raise Invalid(f"{spec.name!r} wants a network, which there is with the back end bubblewrap alone")
    if excess := beyond(spec, by.most):
        raise Forbidden(f"{excess.text} to a tool of {by.principal}", part=excess.part, limit=excess.limit)
    if spec == state.spec:
        return []
    return [ToolRegistered(spec=spec, owner=by.principal)]


def evolve(state: State, event: ToolRegistered) -> State:
    """The registration after one more event."""
    return State(event.spec, event.owner)


def deprecate(standing: ToolDeprecated | None, version: str, command: DeprecateTool, by: str) -> list[ToolDeprecated]:
    """Deprecating what is deprecated in these words changes nothing, nor does taking back what is not."""
    if command.withdraw and standing is None:
        return []
    event = ToolDeprecated(
        name=command.name,
        version=version,
        why=command.why,
        until_s=command.until_s,
        by=by,
        withdrawn=command.withdraw,
    )
    same = standing is not None and standing == event.model_copy(update={"by": standing.by})
    return [] if same else [event]


@dataclass(frozen=True, slots=True)
class Excess:
    """A part of a profile that is more than its owner's tools may have; without a limit it is not theirs to ask."""

    tool: str
    part: str
    asked: int | str
    limit: int | str | None

    @property
    def text(self) -> str:
        """What is asked for, and what may be."""
        most = "at most " if isinstance(self.limit, int) else ""
        may = "nothing of that is open" if self.limit is None else f"{most}{self.limit} is open"
        return f"{self.tool!r} asks for {self.part} {self.asked}, and {may}"


def beyond(spec: ToolSpec, most: Profile) -> Excess | None:
    """What a tool's profile asks for beyond what may be, if anything."""
    limits = most.model_dump(exclude={"network", "backend"})
    asked = spec.profile.model_dump(exclude={"network", "backend"}) if spec.profile else {}
    backend = spec.profile.backend if spec.profile else None
    if backend is not None and most.backend not in (None, backend):
        return Excess(spec.name, "backend", backend, most.backend)
    for part, number in asked.items():
        limit = limits[part]
        if number is not None and (limit is None or number > limit):
            return Excess(spec.name, part, number, limit)
    return beyond_network(spec.name, spec.profile.network if spec.profile else "none", most.network)


def beyond_network(name: str, asked: Network | Literal["none"], most: Network | Literal["none"]) -> Excess | None:
    """What something asks for of the network beyond what may be, if anything."""
    if asked == "none":
        return None
    open_hosts, open_ports = ((), ()) if most == "none" else (most.hosts, most.ports)
    for host in asked.hosts:
        if not any(covers(pattern, host) for pattern in open_hosts):
            return Excess(name, "network", host, ", ".join(open_hosts) or None)
    for port in asked.ports:
        if port not in open_ports:
            return Excess(name, "network", f"port {port}", ", ".join(map(str, open_ports)))
    return None


def binding_version(spec: ToolSpec) -> str:
    """What a yes is bound to: the version, and everything else the registration says."""
    later: dict[str, bool | set[str]] = {}  # what came later is left out where it says nothing
    if spec.profile is None or spec.profile.backend is None:
        later = {"profile": spec.profile is None or {"backend"}}
    said = spec.model_dump(mode="json", exclude=later)
    return f"{spec.version}+{digest_json(said)[:12]}"
