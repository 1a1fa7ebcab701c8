"""What is asked of MCP servers: what they offer, and calls, each within its time and of what was accepted."""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Protocol

import anyio
from anyio import to_thread
from pydantic import JsonValue

from dominie_contracts import DeadlineExceeded, Invalid, ToolFailed, Unavailable
from dominie_contracts.servers import Listing, Server, ServerAccepted, parts
from dominie_kit import Action, Context, Lost, NotDone
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.egress import Bounds, Secret
from dominie_tool.mcp.aggregate import State, differences, review_required
from dominie_tool.mcp.asking import Asking, asking
from dominie_tool.mcp.errors import Broken, Failed
from dominie_tool.mcp.servers import Running
from dominie_tool.mcp.session import Session, Wanted, Whose
from dominie_tool.projection import Tool
from dominie_tool.sandbox import Sandbox

SecretsOf = Callable[[str, Server, str], Awaitable[tuple[Secret, ...]]]
"""The secrets of a server's headers, by tenant and who accepted it."""
_BOUNDS = Bounds()


class Register(Protocol):
    """Where what is accepted of servers stands, and what is met of them is written."""

    def state(self, tenant: str, name: str) -> State:
        """A server as it stands."""

    async def met(self, context: Context, name: str, found: Listing) -> State:
        """It is not what was accepted, as far as is known here; the server as it stands after that."""

    async def asked(self, action: Action, name: str, refused: Counter[str]) -> None:
        """It asked for what no server is given."""


class Calls:
    """The way to the tools of MCP servers."""

    def __init__(self, running: Running, values: Values, register: Register, secrets: SecretsOf) -> None:
        self._running = running
        self._secrets = secrets
        self._values = values
        self._register = register

    async def look(self, server: Server, context: Context, *, anew: bool = True) -> Listing:
        """What a server offers now: one of the caller's own, started anew or as they have looked at it before.

        Raises:
            ToolFailed: It does not speak as it should.
            Invalid: There is no such program, or no such secret.
            Forbidden: A secret is not for this server.
            Unavailable: It cannot be run here.
        """
        whose = Whose(context.tenant, context.principal)
        given = await self._secrets(context.tenant, server, context.principal)
        if anew:
            self._running.end(whose, server.name)
        try:
            with asking(Asking.within(_BOUNDS)):
                async with self._running.held(Wanted(server, whose, given)) as session:
                    return await _listed(session)
        except Broken as broken:
            raise ToolFailed(str(broken)) from broken

    async def layers(self) -> tuple[str, ...]:
        """What holds a server here; nothing where none can run."""
        return await to_thread.run_sync(Sandbox.layers)

    def end(self, tenant: str, name: str) -> None:
        """End everybody's server of that name."""
        self._running.end(Whose(tenant, ""), name)

    async def run(self, tool: Tool, arguments: dict[str, JsonValue], action: Action) -> JsonValue:
        """Call a tool of a server.

        Raises:
            NotDone: Its server cannot be run here, or what it did in a box without a network is gone with its answer.
            ReviewRequired: Its server is not what was accepted.
            Invalid: Its server, or the program of that, is not there any more.
            ToolFailed: It failed, or its server did.
            Lost: It was called where it may have done something, and nobody can tell what came of that.
        """
        name, _ = parts(tool.spec.name)
        accepted = self._register.state(action.context.tenant, name).accepted
        if accepted is None:
            raise Invalid(f"the MCP server {name!r} was removed")
        under_way = Asking.within(_BOUNDS)
        try:
            given = await self._values.load(arguments, action.context)
            with asking(under_way):
                result = await self._within(tool, accepted, given, action, under_way)
        except TimeoutError as late:
            raise ToolFailed(f"{tool.spec.name}: timeout: it took longer than {tool.spec.timeout_s:g} s") from late
        except (Broken, Failed) as failed:
            raise ToolFailed(f"{tool.spec.name}: {failed}") from failed
        except DeadlineExceeded as problem:
            raise NotDone(problem) from problem
        except Unavailable as problem:
            raise _not_done(tool, problem, under_way) from problem
        try:
            return await self._result(tool, result, action.context)
        except Unavailable as problem:
            raise _not_done(tool, problem, under_way) from problem

    async def _within(
        self, tool: Tool, accepted: ServerAccepted, given: dict[str, JsonValue], action: Action, under_way: Asking
    ) -> JsonValue:
        """Call it within its time; what it reached stands beside what comes of it; what it asked for is recorded."""
        try:
            with anyio.fail_after(tool.spec.timeout_s):
                return await self._tried(tool, accepted, given, action, under_way)
        except (Broken, TimeoutError) as error:
            if under_way.unsure:
                raise Lost(f"{tool.spec.name}: {str(error) or 'it did not answer in its time'}") from error
            raise
        finally:
            if reached := under_way.ledger.event():
                action.beside.append(reached)
            if under_way.refused:
                with anyio.CancelScope(shield=True):
                    await self._register.asked(action, accepted.server.name, under_way.refused)

    async def _tried(
        self, tool: Tool, accepted: ServerAccepted, given: dict[str, JsonValue], action: Action, under_way: Asking
    ) -> JsonValue:
        """Call it; once more, in another session, where a server had forgotten this one, and so has begun nothing."""
        try:
            return await self._run(tool, accepted, given, action, under_way)
        except Broken:
            if under_way.unsure or not under_way.expired:
                raise
        under_way.expired = under_way.sent = False
        return await self._run(tool, accepted, given, action, under_way)

    async def _run(
        self, tool: Tool, accepted: ServerAccepted, given: dict[str, JsonValue], action: Action, under_way: Asking
    ) -> JsonValue:
        _, called = parts(tool.spec.name)
        tenant, user = action.context.tenant, action.context.user or ""
        secrets = await self._secrets(tenant, accepted.server, accepted.by)
        async with self._running.held(Wanted(accepted.server, Whose(tenant, user), secrets)) as found:
            await self._check(found, accepted, action.context)
            try:
                return await _called(found, called, given)
            finally:
                under_way.refused += found.asked()

    async def _check(self, session: Session, accepted: ServerAccepted, context: Context) -> None:
        """What it offers is what was accepted: asked at each call."""
        found = await _listed(session)
        if found.digest == accepted.listing.digest:
            return
        state = await self._register.met(context, accepted.server.name, found)
        if state.accepted is not None and state.accepted.listing.digest == found.digest:
            return  # it was accepted a moment ago
        session.faulty = True
        differs = tuple(difference.what for difference in differences(accepted.listing, found))
        raise review_required(accepted.server.name, differs)

    async def _result(self, tool: Tool, result: JsonValue, context: Context) -> JsonValue:
        """What came back, if it is what the accepted schema says; what is large of it is an artifact."""
        schema = tool.spec.output_schema
        try:
            wrong = await InputSchema(schema).wrong_value(result) if schema else None
            short = await self._values.shorten(result, context)
        except Invalid as error:
            raise ToolFailed(f"{tool.spec.name}: its result: {error.detail}") from error
        if wrong is not None:
            raise ToolFailed(f"{tool.spec.name}: its result: {wrong}")
        return short


def _not_done(tool: Tool, problem: Unavailable, under_way: Asking) -> NotDone | Lost:
    """What is said of a call that has no outcome since something of ours is away: what it did elsewhere is done."""
    return Lost(f"{tool.spec.name}: {problem.detail}") if under_way.sent else NotDone(problem)


async def _listed(session: Session) -> Listing:
    """What a server offers, within the time that it has for its start."""
    try:
        with anyio.fail_after(session.bounds.start_s):
            return await session.listing()
    except TimeoutError as late:
        session.faulty = True
        name, patience = session.name, session.bounds.start_s
        raise Broken(f"the MCP server {name!r}: it did not say within {patience:g} s what it offers") from late


async def _called(session: Session, tool: str, given: dict[str, JsonValue]) -> JsonValue:
    try:
        return await session.call(tool, given)
    except Failed:
        raise
    except BaseException:  # it broke, or its time is up: what it still does is ended with it
        session.faulty = True
        raise
