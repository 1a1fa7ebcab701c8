"""What was accepted of an MCP server, and which tools that makes. Pure."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from pydantic import JsonValue

from dominie_contracts import Invalid, Payload, ReviewRequired
from dominie_contracts.labels import ANNOTATION, ROLES
from dominie_contracts.servers import (
    Difference,
    Effect,
    Listing,
    Served,
    Server,
    ServerAccepted,
    ServerChanged,
    ServerRemoved,
    Words,
    tool_name,
)
from dominie_contracts.tool import ToolRegistered, ToolRemoved, ToolSpec

_SPOKEN = 2_000
"""So many characters of a description are told to models."""


@dataclass(frozen=True, slots=True)
class State:
    """A server as it stands; there is none where nothing is accepted.

    Attributes:
        changed: What was met of it instead; until a review it is refused.
        tools: What is registered of it, by name.
        version: How many events its stream has.
    """

    accepted: ServerAccepted | None = None
    changed: ServerChanged | None = None
    tools: Mapping[str, ToolSpec] = field(default_factory=dict)
    version: int = 0


def evolve(state: State, event: Payload) -> State:
    """The server after one more event of its stream."""
    state = replace(state, version=state.version + 1)
    match event:
        case ServerAccepted():
            return replace(state, accepted=event, changed=None)
        case ServerChanged():
            return replace(state, changed=event)
        case ServerRemoved():
            return replace(state, accepted=None, changed=None)
        case ToolRegistered():
            return replace(state, tools={**state.tools, event.spec.name: event.spec})
        case ToolRemoved():
            return replace(state, tools={name: spec for name, spec in state.tools.items() if name != event.name})
        case _:
            return state


def accept(state: State, server: Server, listing: Listing, words: Words, by: str) -> list[Payload]:
    """Take a server as it is now, with all of its tools; nothing where that stands already.

    Raises:
        Invalid: A tool of it cannot be one, or the words are of none of its tools.
    """
    specs = {spec.name: spec for spec in map(lambda tool: _spec(server, tool, words), listing.tools)}
    if len(specs) < len(listing.tools):
        raise Invalid(f"the MCP server {server.name!r} offers two tools of one name")
    _check_words(words, {tool.name: tool for tool in listing.tools})
    stands = state.accepted
    if stands is not None and state.changed is None and _same(stands, server, listing, words):
        return []
    accepted = ServerAccepted(server=server, listing=listing, words=words, by=by)
    new = [ToolRegistered(spec=spec, owner=by) for spec in specs.values() if state.tools.get(spec.name) != spec]
    return [accepted, *new, *(ToolRemoved(name=name, by=by) for name in state.tools if name not in specs)]


def remove(state: State, name: str, by: str) -> list[Payload]:
    """Take a server and its tools away."""
    return [ServerRemoved(name=name, by=by), *(ToolRemoved(name=tool, by=by) for tool in state.tools)]


def changed(state: State, found: Listing) -> ServerChanged | None:
    """What is to be written where a server is met that is not what was accepted, and nobody has written it yet."""
    stands = state.accepted
    if stands is None or found.digest == stands.listing.digest:
        return None
    if state.changed is not None and state.changed.digest == found.digest:
        return None
    differs = tuple(difference.what for difference in differences(stands.listing, found))
    name = stands.server.name
    return ServerChanged(name=name, accepted=stands.listing.digest, digest=found.digest, differs=differs[:32])


def differences(before: Listing, now: Listing) -> Iterator[Difference]:
    """What is not as it was, in the order in which people read it."""
    yield from _differing("instructions", before.instructions, now.instructions)
    old, new = {tool.name: tool for tool in before.tools}, {tool.name: tool for tool in now.tools}
    for name in sorted(old | new):
        yield from _of_tool(name, old.get(name), new.get(name))
    for path in sorted(before.program | now.program):
        yield from _differing(f"program {path}", before.program.get(path, ""), now.program.get(path, ""))


def _of_tool(name: str, old: Served | None, new: Served | None) -> Iterator[Difference]:
    if old is None or new is None:
        yield Difference(what=name, before=old.description if old else "", after=new.description if new else "")
        return
    yield from _differing(f"{name} title", old.title, new.title)
    yield from _differing(f"{name} description", old.description, new.description)
    yield from _differing(f"{name} input schema", _text(old.input_schema), _text(new.input_schema))
    yield from _differing(f"{name} output schema", _text(old.output_schema), _text(new.output_schema))
    yield from _differing(f"{name} annotations", _text(old.annotations), _text(new.annotations))


def _differing(what: str, before: str, after: str) -> Iterator[Difference]:
    if before != after:
        yield Difference(what=what, before=before, after=after)


def _text(value: Mapping[str, JsonValue]) -> str:
    return json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) if value else ""


def _same(stands: ServerAccepted, server: Server, listing: Listing, words: Words) -> bool:
    return (stands.server, stands.listing.digest, stands.words) == (server, listing.digest, words)


def _spec(server: Server, tool: Served, words: Words) -> ToolSpec:
    if any(_marked(schema) for schema in (tool.input_schema, tool.output_schema)):
        raise Invalid(f"{tool.name!r}: a server may not mark its own schemas with {ANNOTATION}; a reviewer says roles")
    try:
        return ToolSpec(
            name=tool_name(server.name, tool.name),
            version=tool.version,
            description=(tool.description or tool.title)[:_SPOKEN],
            input_schema=_with_roles(tool, words.roles.get(tool.name, {})),
            output_schema=tool.output_schema,
            effect=_effect(tool, words),
            idempotent=words.trust_hints and tool.annotations.get("idempotentHint") is True,
            kind="mcp",
        )
    except ValueError as error:
        raise Invalid(f"{tool.name!r} of the MCP server {server.name!r} cannot be a tool: {error}") from error


def _effect(tool: Served, words: Words) -> Effect:
    """What a reviewer says; the server's own hints only where they say that these count."""
    if tool.name in words.effects:
        return words.effects[tool.name]
    hints = tool.annotations if words.trust_hints else {}
    if hints.get("readOnlyHint") is True:
        return "read"
    return "write" if hints.get("openWorldHint") is False else "external"


def _with_roles(tool: Served, roles: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    properties = tool.input_schema.get("properties")
    if not roles or not isinstance(properties, dict):
        return tool.input_schema
    marked: dict[str, JsonValue] = {
        name: {**part, ANNOTATION: {"role": roles[name]}} if name in roles and isinstance(part, dict) else part
        for name, part in properties.items()
    }
    return {**tool.input_schema, "properties": marked}


def _check_words(words: Words, tools: Mapping[str, Served]) -> None:
    if unknown := sorted((words.effects.keys() | words.roles.keys()) - tools.keys()):
        raise Invalid(f"it has no tool {unknown[0]!r}, only {', '.join(sorted(tools)) or 'none at all'}")
    for name, roles in words.roles.items():
        properties = tools[name].input_schema.get("properties")
        if missing := sorted(roles.keys() - (properties.keys() if isinstance(properties, dict) else set())):
            raise Invalid(f"{name!r} has no argument {missing[0]!r} that could be one of {', '.join(ROLES)}")


def _marked(value: JsonValue) -> bool:
    """Whether a schema has our mark anywhere, an argument of that name included."""
    if isinstance(value, dict):
        return ANNOTATION in value or any(map(_marked, value.values()))
    return isinstance(value, list) and any(map(_marked, value))


def review_required(name: str, differs: tuple[str, ...]) -> ReviewRequired:
    """The problem with a server that is not what was accepted."""
    what = ", ".join(differs[:8])
    return ReviewRequired(
        f"the MCP server {name!r} is not what was accepted ({what}): `dominie mcp review {name}` shows what changed",
        server=name,
        differs=list(differs),
    )
