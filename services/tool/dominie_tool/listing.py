"""What the registry has of one tool, and its deprecation."""

from dominie_contracts import Forbidden, Invalid, StreamName, Unavailable
from dominie_contracts.catalog import Deprecated, DeprecateTool, ShowTool, ToolVersion
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.servers import PREFIX, parts, stream_id
from dominie_contracts.tool import CATALOG, ToolRegistered, ToolShown
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Actions, Context
from dominie_kit.edge.standing import Standing
from dominie_tool.aggregate import deprecate
from dominie_tool.projection import Catalog, Tool


class Registry:
    """Answers `show` and `deprecate`."""

    def __init__(self, store: EventStore, actions: Actions, standing: Standing, catalog: Catalog) -> None:
        self._store = store
        self._actions = actions
        self._standing = standing
        self._catalog = catalog

    async def show(self, command: ShowTool, context: Context) -> ToolShown:
        """One tool: its versions, whose it is, and who may call it."""
        tool = await self._found(command.name, context)
        stream = stream_id(parts(command.name)[0]) if command.name.startswith(PREFIX) else command.name
        return ToolShown(
            spec=tool.spec.model_copy(update={"source": None}),
            owner=tool.state.owner or "",
            versions=tuple(await self._versions(StreamName(context.tenant, CATALOG, stream), command.name)),
            granted=tuple(self._standing.granted(context.tenant, command.name)),
            deprecated=tool.deprecated,
        )

    async def deprecate(self, command: DeprecateTool, context: Context) -> Deprecated:
        """Say that a tool should not be used any more, or that it may be again."""
        tool = await self._found(command.name, context)
        if DEVELOPERS not in context.groups and tool.state.owner != context.principal:
            raise Forbidden(f"{command.name!r} belongs to {tool.state.owner}")
        events = deprecate(tool.deprecated, tool.spec.version, command, context.principal)
        stream = StreamName(context.tenant, CATALOG, command.name)
        if events:
            drafts = self._actions.drafts(context, stream, *events)
            version = len(await self._store.read(stream))
            try:
                appended = await self._store.append(stream, drafts, expected_version=version)
            except WrongExpectedVersion as error:
                raise Unavailable(f"{command.name!r} is being registered by others", retry_after_s=0.2) from error
            context.position = appended.position
        return Deprecated(name=command.name, version=tool.spec.version, changed=bool(events))

    async def _found(self, name: str, context: Context) -> Tool:
        await context.read_your_writes()
        tool = self._catalog.find(context.tenant, name)
        if tool is None:
            raise Invalid(f"no tool {name!r} is registered; `dominie tool list` shows what is")
        return tool

    async def _versions(self, stream: StreamName, name: str) -> list[ToolVersion]:
        found = []
        for past in await self._store.read(stream):
            event = parse_own(past)
            if isinstance(event, ToolRegistered) and event.spec.name == name:
                spec, at = event.spec, past.envelope.time.isoformat(timespec="seconds")
                found.append(ToolVersion(version=spec.version, effect=spec.effect, owner=event.owner, registered=at))
        return found
