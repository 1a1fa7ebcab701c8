"""For tests of MCP servers: what mounts and calls them, on a log in memory."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue

from dominie_contracts import Draft, Envelope, StreamName
from dominie_contracts.rights import DEVELOPERS
from dominie_contracts.servers import (
    ListServers,
    Mounted,
    MountServer,
    ReviewServer,
    Server,
    ServerReview,
    ServerView,
    Words,
)
from dominie_contracts.tool import CATALOG, TOOL, InvokeTool, ToolSpec
from dominie_eventstore import Appended, WrongExpectedVersion
from dominie_kit.artifacts import Artifacts
from dominie_kit.checks.installed import installed
from dominie_kit.checks.looking import Looking
from dominie_kit.context import Context
from dominie_kit.governed.given import Provenance
from dominie_kit.handler_testing import Desk
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.checking import Checking
from dominie_tool.egress import Egress, Secret
from dominie_tool.endorsing.counting import Counting
from dominie_tool.endorsing.projection import Endorsements
from dominie_tool.handlers import Handlers
from dominie_tool.mcp.calls import Calls, SecretsOf
from dominie_tool.mcp.handlers import Register, ServerHandlers
from dominie_tool.mcp.servers import Running
from dominie_tool.mcp.session import Bounds
from dominie_tool.projection import Catalog
from dominie_tool.provenance.labelling import Labelling
from dominie_tool.provenance.sources import Sources
from dominie_tool.registry import Registry
from dominie_tool.sandbox import Limits

BOUNDS = Bounds(Limits(memory_mb=128, processes=16, scratch_mb=4), start_s=60, output_bytes=1 << 20, secret=())
OFFLINE = Egress.to_the_internet((), ())


async def no_secrets(tenant: str, server: Server, by: str) -> tuple[Secret, ...]:
    """Nobody keeps any."""
    return ()


def written_by_others(desk: Desk) -> Callable[..., Awaitable[Appended]]:
    """How a log appends where others are always quicker with what is written about servers."""
    append = desk.log.append

    async def found(stream: StreamName, events: Sequence[Draft], *, expected_version: int, **more: Any) -> Appended:
        if stream.category == CATALOG:
            raise WrongExpectedVersion(str(stream), expected=expected_version, actual=expected_version + 1)
        return await append(stream, events, expected_version=expected_version, **more)

    return found


@dataclass
class House:
    """A server called `test`, from both sides: who mounts it and who calls it."""

    desk: Desk
    servers: ServerHandlers
    registry: Registry
    handlers: Handlers
    running: Running
    calls: Calls
    server: Server

    def developer(self, *groups: str) -> Context:
        """A person's command."""
        context = self.desk.context(agent="u-dana", deadline_s=120)
        return replace(context, claims=None, groups=groups or (DEVELOPERS,))

    async def mount(self, server: Server | None = None, **words: Any) -> Mounted:
        """Add it."""
        command = MountServer(server=server or self.server, words=Words.model_validate(words))
        return await self.servers.mount(command, self.developer())

    async def review(self, **more: Any) -> ServerReview:
        """Look at it again."""
        return await self.servers.review(ReviewServer(name="test", **more), self.developer())

    async def call(
        self, tool: str = "echo", key: str | None = None, user: str = "u-ada", **arguments: Any
    ) -> JsonValue:
        """Call a tool of it."""
        await self.desk.caught_up()
        context = self.desk.context(key, user=user, deadline_s=120)
        return (await self.handlers.invoke(InvokeTool(tool=f"mcp.test.{tool}", arguments=arguments), context)).result

    async def trail(self, kind: str) -> list[Envelope]:
        """The events of one kind in the trails of its calls."""
        found = [event.envelope async for event in self.desk.store.read_all(category=TOOL)]
        return [each for each in found if each.type == f"tool.{kind}.v1"]

    async def listed(self) -> tuple[ServerView, ...]:
        """Which servers there are."""
        return (await self.servers.list_servers(ListServers(), self.developer())).servers


@asynccontextmanager
async def keeping(
    desk: Desk,
    server: Server,
    bounds: Bounds = BOUNDS,
    *,
    egress: Egress = OFFLINE,
    secrets: SecretsOf = no_secrets,
    **more: Any,
) -> AsyncIterator[House]:
    """What calls servers, for as long as this is open."""
    catalog, values = Catalog(), Values(Artifacts(desk.blobs))
    desk.follow(catalog, CATALOG)
    actions = desk.actions(TOOL)
    running = Running(bounds, egress, **{"most": 8, "connections": 8, "idle_s": 60.0, **more})
    register = Register(desk.store, actions, catalog)
    calls = Calls(running, values, register, secrets)

    async def nobody(*_: object) -> JsonValue:
        raise AssertionError("only servers are called here")

    async def layers(spec: ToolSpec) -> tuple[str, ...]:
        return await calls.layers()

    counting = Counting(Endorsements(), desk.store, Provenance(), actions, desk.standing, desk.caught_up)
    handlers = Handlers(
        desk.store,
        actions,
        catalog,
        Labelling(desk.store, catalog, Sources(), Provenance(), counting),
        values=values,
        worker=nobody,
        sandbox=nobody,
        checking=Checking(Looking(installed(), cpu_s=5), actions),
        mcp=calls.run,
        layers=layers,
    )
    async with running.open():
        registry = Registry(desk.store, actions, desk.standing, catalog)
        yield House(desk, ServerHandlers(register, catalog, calls), registry, handlers, running, calls, server)
