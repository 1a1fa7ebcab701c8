"""The catalog: who may register which tool, and when a registration is a new version. Pure."""

from dataclasses import dataclass

from dominie_contracts import Forbidden, Invalid
from dominie_contracts.digests import digest_json
from dominie_contracts.tool import RegisterTool, ToolRegistered, ToolSpec


@dataclass(frozen=True, slots=True)
class State:
    """A tool's registration in force; none when `spec` is None."""

    spec: ToolSpec | None = None
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class Registrant:
    """Who registers: an owner of tools, perhaps a developer, who may take over what another developer owns."""

    principal: str
    may: bool
    developer: bool


def decide(state: State, command: RegisterTool, by: Registrant) -> list[ToolRegistered]:
    """Registering what stands changes nothing.

    Raises:
        Forbidden: Not a worker granted this name, nor a developer; or another owns the tool.
        Invalid: The specification contradicts itself.
    """
    spec = command.spec
    if not by.may:
        raise Forbidden(f"{by.principal} may not register {spec.name!r}")
    if state.owner not in (None, by.principal) and not by.developer:
        raise Forbidden(f"{spec.name!r} belongs to {state.owner}")
    if spec.kind == "local":
        raise Invalid("a local tool is not registered: it runs in the agent's own process")
    if (spec.kind == "sandboxed") != (spec.source is not None and spec.function is not None):
        raise Invalid("a sandboxed tool, and no other, needs `source` and `function`")
    if spec == state.spec:
        return []
    return [ToolRegistered(spec=spec, owner=by.principal)]


def evolve(state: State, event: ToolRegistered) -> State:
    """The registration after one more event."""
    return State(event.spec, event.owner)


def binding_version(spec: ToolSpec) -> str:
    """What a yes is bound to: the version, and everything else the registration says."""
    return f"{spec.version}+{digest_json(spec.model_dump(mode='json'))[:12]}"
