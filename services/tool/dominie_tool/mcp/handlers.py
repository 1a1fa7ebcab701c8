"""The commands about MCP servers; and where what is met of them is written."""

from collections import Counter
from collections.abc import Callable, Sequence

from dominie_contracts import Forbidden, Invalid, Payload, Problem, StreamName, Unavailable
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.servers import (
    Listing,
    ListServers,
    Mounted,
    MountServer,
    ReviewServer,
    ServerAsked,
    ServerReview,
    Servers,
    ServerTool,
    ServerView,
    Unmounted,
    UnmountServer,
    stream_id,
)
from dominie_contracts.tool import CATALOG, ToolSpec
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Action, Actions, Context
from dominie_tool.adapters.schemas import check_schemas
from dominie_tool.mcp.address import check_address
from dominie_tool.mcp.aggregate import State, accept, changed, differences, evolve, remove
from dominie_tool.mcp.calls import Calls
from dominie_tool.mcp.headers import check_headers
from dominie_tool.mcp.profile import check_profile
from dominie_tool.projection import Catalog

_TRIES = 5


class Register:
    """The streams of the servers; see `calls.Register`."""

    def __init__(self, store: EventStore, actions: Actions, catalog: Catalog) -> None:
        self._store = store
        self._actions = actions
        self._catalog = catalog

    def state(self, tenant: str, name: str) -> State:
        """A server as it stands."""
        return self._catalog.server(tenant, name)

    async def met(self, context: Context, name: str, found: Listing) -> State:
        """It is not what was accepted, as far as is known here; the server as it stands after that."""

        def event(state: State) -> Sequence[Payload]:
            written = changed(state, found)
            return [written] if written else []

        return await self.write(context, name, event)

    async def asked(self, action: Action, name: str, refused: Counter[str]) -> None:
        """It asked for what no server is given."""
        event = ServerAsked(name=name, action=action.id, refused=dict(refused))
        await self.write(action.context, name, lambda state: [event])

    async def write(self, context: Context, name: str, decide: Callable[[State], Sequence[Payload]]) -> State:
        """Append to a server's stream what is decided by its state, in one append; the state after that.

        Raises:
            Unavailable: Others write there all the time.
        """
        stream = StreamName(context.tenant, CATALOG, stream_id(name))
        for _ in range(_TRIES):
            state = State()
            for past in await self._store.read(stream):
                state = evolve(state, parse_own(past))
            events = decide(state)
            try:
                if events:
                    drafts = self._actions.drafts(context, stream, *events)
                    appended = await self._store.append(stream, drafts, expected_version=state.version)
                    context.position = appended.position
            except WrongExpectedVersion:
                continue
            for event in events:
                state = evolve(state, event)
            return state
        raise Unavailable(f"the MCP server {name!r} is written about by others too", retry_after_s=0.2)


class ServerHandlers:
    """Answers `mount`, `review`, `servers` and `unmount`."""

    def __init__(self, register: Register, catalog: Catalog, calls: Calls) -> None:
        self._register = register
        self._catalog = catalog
        self._calls = calls

    async def mount(self, command: MountServer, context: Context) -> Mounted:
        """Start a server, and register its tools as they are."""
        _check_developer(context)
        server = command.server
        if bool(server.command) == bool(server.url):
            raise Invalid("an MCP server has a command or an address, one of them")
        if server.url is not None:
            check_address(server.url)
        if server.headers and server.url is None:
            raise Invalid("a command gets no headers; they are for an address")
        check_headers(server.headers)
        check_profile(server)
        await context.read_your_writes()
        stands = self._register.state(context.tenant, server.name).accepted
        if stands is not None and stands.server != server:
            raise Invalid(
                f"there is an MCP server {server.name!r} already, another one; `dominie mcp remove {server.name}` first"
            )
        found = await self._calls.look(server, context)
        _check(found)

        def decide(state: State) -> Sequence[Payload]:
            other = state.accepted is not None and state.accepted.listing.digest != found.digest
            if other or state.changed is not None:
                raise Invalid(f"{server.name!r} is not what was accepted; `dominie mcp review {server.name}` shows it")
            return accept(state, server, found, command.words, context.principal)

        before = self._register.state(context.tenant, server.name).version
        state = await self._register.write(context, server.name, decide)
        return Mounted(server=view(state), changed=state.version > before)

    async def review(self, command: ReviewServer, context: Context) -> ServerReview:
        """What a server offers now beside what was accepted; and accept what somebody has seen."""
        _check_developer(context)
        await context.read_your_writes()
        state = self._register.state(context.tenant, command.name)
        stands = state.accepted
        if stands is None:
            raise _unknown(command.name)
        found = await self._calls.look(stands.server, context, anew=command.accept is None)
        _check(found)
        differs = tuple(differences(stands.listing, found))
        if command.accept is None:
            await self._register.met(context, command.name, found)
            return ServerReview(server=view(state), digest=found.digest, differences=differs, accepted=False)
        if found.digest != command.accept:
            raise Invalid(f"{command.name!r} is not what you have seen any more; review it again")
        words = command.words or stands.words
        state = await self._register.write(
            context, command.name, lambda now: accept(now, stands.server, found, words, context.principal)
        )
        self._calls.end(context.tenant, command.name)
        return ServerReview(server=view(state), digest=found.digest, differences=differs, accepted=True)

    async def list_servers(self, command: ListServers, context: Context) -> Servers:
        """The tenant's servers."""
        _check_developer(context)
        await context.read_your_writes()
        return Servers(servers=tuple(view(state) for state in self._catalog.servers(context.tenant)))

    async def unmount(self, command: UnmountServer, context: Context) -> Unmounted:
        """Remove a server and its tools."""
        _check_developer(context)
        gone: list[str] = []

        def decide(state: State) -> Sequence[Payload]:
            if state.accepted is None:
                raise _unknown(command.name)
            gone[:] = state.tools
            return remove(state, command.name, context.principal)

        await self._register.write(context, command.name, decide)
        self._calls.end(context.tenant, command.name)
        return Unmounted(tools=tuple(gone))


def view(state: State) -> ServerView:
    """A server that is accepted, as people are shown it."""
    assert state.accepted is not None
    accepted = state.accepted
    return ServerView(
        server=accepted.server,
        digest=accepted.listing.digest,
        by=accepted.by,
        tools=tuple(_shown(spec) for _, spec in sorted(state.tools.items())),
        instructions=accepted.listing.instructions,
        program=accepted.listing.program,
        changed=state.changed.differs if state.changed else (),
    )


def _shown(spec: ToolSpec) -> ServerTool:
    return ServerTool(name=spec.name, version=spec.version, effect=spec.effect, description=spec.description)


def _check(found: Listing) -> None:
    for tool in found.tools:
        try:
            check_schemas(tool.input_schema, tool.output_schema)
        except Invalid as error:
            raise Invalid(f"{tool.name!r}: {error.detail}") from error


def _check_developer(context: Context) -> None:
    if DEVELOPERS not in context.groups:
        raise Forbidden(f"{context.principal} is no developer, and only those say which MCP servers there are")


def _unknown(name: str) -> Problem:
    return Invalid(f"there is no MCP server {name!r}; `dominie mcp list` shows which there are")
