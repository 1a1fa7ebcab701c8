"""The registry: tools and their versions come into it, are listed and shown, and end."""

from collections.abc import Awaitable, Callable
from itertools import chain

from dominie_contracts import Forbidden, Invalid, StreamName, Unauthenticated, Unavailable
from dominie_contracts.catalog import Deprecated, DeprecateTool, ShowTool, ToolVersion
from dominie_contracts.labels import wrong_marks
from dominie_contracts.registry import parse_own
from dominie_contracts.result_parts import unread_marks
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.servers import PREFIX, parts, stream_id
from dominie_contracts.things import wrong_things
from dominie_contracts.tool import (
    CATALOG,
    ListTools,
    Profile,
    RegisteredTool,
    RegisterTool,
    ToolRegistered,
    Tools,
    ToolShown,
    ToolSpec,
)
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Actions, Context
from dominie_kit.edge.standing import Standing
from dominie_tool.adapters.schemas import check_schemas
from dominie_tool.aggregate import Registrant, State, decide, deprecate, evolve
from dominie_tool.projection import Catalog, Tool

Lacking = Callable[[ToolSpec], Awaitable[str | None]]
"""Why a tool cannot run on this machine, if it cannot."""


class Registry:
    """Answers `register`, `list`, `show` and `deprecate`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        standing: Standing,
        catalog: Catalog,
        *,
        lacking: Lacking | None = None,
        most: Callable[[str], Profile] = lambda owner: Profile(),
    ) -> None:
        self._store = store
        self._actions = actions
        self._standing = standing
        self._catalog = catalog
        self._lacking = lacking
        self._most = most

    async def register(self, command: RegisterTool, context: Context) -> RegisteredTool:
        """Register a tool, or its next version."""
        spec = command.spec
        check_spec(spec)
        stream = StreamName(context.tenant, CATALOG, spec.name)
        recorded = await self._store.read(stream)
        state = State()
        for past in recorded:
            payload = parse_own(past)
            state = evolve(state, payload) if isinstance(payload, ToolRegistered) else state
        events = decide(state, command, self._registrant(spec, context))
        if events and self._lacking and (lacking := await self._lacking(spec)):
            raise Unavailable(f"{spec.name!r} cannot run here: {lacking}")
        for event in events:
            drafts = self._actions.drafts(context, stream, event)
            try:
                appended = await self._store.append(stream, drafts, expected_version=len(recorded))
            except WrongExpectedVersion as error:
                raise Unavailable(f"{spec.name!r} is being registered by others too", retry_after_s=0.2) from error
            context.position = appended.position
        return RegisteredTool(name=spec.name, version=spec.version, changed=bool(events))

    async def list_tools(self, command: ListTools, context: Context) -> Tools:
        """The tools that the caller may call; a person sees all of their tenant's."""
        await context.read_your_writes()
        tools = self._catalog.all(context.tenant)
        if context.claims is None and context.principal.startswith("a-"):
            raise Unauthenticated("tool.list needs a run token; mint one with identity.token")
        if context.claims is not None:
            granted = [tool for tool in tools if context.grants.allow("tools", tool.spec.name)]
            tools = [tool for tool in granted if self._catalog.closed(context.tenant, tool) is None]
        return Tools(
            tools=tuple(tool.spec.model_copy(update={"source": None}) for tool in tools),
            owners={tool.spec.name: tool.state.owner or "" for tool in tools},
            deprecated={tool.spec.name: tool.warning for tool in tools if tool.deprecated},
        )

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

    def _registrant(self, spec: ToolSpec, context: Context) -> Registrant:
        developer = DEVELOPERS in context.groups
        registered = self._standing.find(context.tenant, context.principal)
        worker = context.principal.startswith("w-") and registered is not None
        granted = worker and registered is not None and registered.grants.allow("tools", spec.name)
        return Registrant(context.principal, developer or granted, developer, self._most(context.principal))

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


def check_spec(spec: ToolSpec) -> None:
    """See that a tool's schemas are some, and that their marks mean something.

    Raises:
        Invalid: They are not, or do not.
    """
    try:
        check_schemas(spec.input_schema, spec.output_schema)
    except Invalid as error:
        raise Invalid(f"{spec.name!r}: {error.detail}") from error
    wrong_output = chain(wrong_marks(spec.output_schema), unread_marks(spec.output_schema))
    wrong_kinds = chain(wrong_things(spec.input_schema), wrong_things(spec.output_schema))
    wrong = next(chain(wrong_marks(spec.input_schema), wrong_output, wrong_kinds), None)
    if wrong is not None:
        raise Invalid(f"{spec.name!r}: {wrong}")
