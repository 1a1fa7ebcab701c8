"""One server that is connected: started or reached, looked at, called, and ended."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, NamedTuple

import anyio
import structlog
from anyio import to_thread
from pydantic import JsonValue

from dominie_contracts import Invalid
from dominie_contracts.servers import Listing, Server
from dominie_tool.egress import Secret
from dominie_tool.mcp.errors import Broken
from dominie_tool.mcp.link import Link
from dominie_tool.sandbox.values import Limits

if TYPE_CHECKING:
    from dominie_tool.mcp.client import Conversation


log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a server may use.

    Attributes:
        limits: Of its box.
        start_s: For its start and its first listing together.
        output_bytes: What it may write for each request.
        secret: Folders that no server sees.
    """

    limits: Limits
    start_s: float
    output_bytes: int
    secret: tuple[Path, ...]


class Whose(NamedTuple):
    """Whose server it is: nobody else's calls go there."""

    tenant: str
    user: str


class Wanted(NamedTuple):
    """Which server, for whom, and with which secrets: a session is for one of these."""

    server: Server
    whose: Whose
    given: tuple[Secret, ...] = ()


@dataclass(slots=True, eq=False)
class Session:
    """A server that is connected for somebody.

    Attributes:
        busy: How many calls it has.
        used: When it was called last, by the loop's clock.
        faulty: It shall take no more calls.
        ready: It can be called, or `failed` says why it cannot.
    """

    wanted: Wanted
    link: Link
    bounds: Bounds
    busy: int = 0
    used: float = field(default_factory=anyio.current_time)
    faulty: bool = False
    failed: Exception | None = None
    ready: anyio.Event = field(default_factory=anyio.Event)
    stop: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    _conversation: "Conversation | None" = None

    async def run(self) -> None:
        """Connect, and stay so until `stop` is set or it ends."""
        try:
            await self._run()
        except Exception as error:
            self.failed = self._explained(error)
            log.warning("mcp.server_failed", server=self.name, error=repr(self.failed))
        finally:
            self.faulty = True
            self.ready.set()
            self.ended.set()

    @property
    def name(self) -> str:
        """What the server is called."""
        return self.wanted.server.name

    def retire(self) -> None:
        """Have it take no more calls, and end; where calls may go on in it, after these."""
        self.faulty = True
        if not (self.busy and self.link.lingers):
            self.stop.set()

    async def _run(self) -> None:
        with anyio.move_on_after(self.bounds.start_s) as starting:
            client = await to_thread.run_sync(_library)
            async with (
                self.link.open() as streams,
                client.converse(streams, self.link.ears.refused) as conversation,
            ):
                self._conversation = conversation
                if await self._changed():
                    raise Broken("its program changed while it was started")
                starting.deadline = float("inf")
                self.ready.set()
                await self._until_end()
        if starting.cancelled_caught:
            raise Broken(f"it did not answer within {self.bounds.start_s:g} s")

    async def listing(self) -> Listing:
        """What it offers now, and what it runs from: it may read its program's files at any time."""
        with self._explaining():
            await self._changed()
            return await self._speaking().listing(self.link.pins)

    async def call(self, tool: str, arguments: dict[str, JsonValue]) -> JsonValue:
        """Call a tool; see `Conversation.call`."""
        with self._explaining():
            async with self.link.calling():
                return await self._speaking().call(tool, arguments)

    async def _changed(self) -> bool:
        """Whether it is another one than was opened: then it takes no more calls."""
        try:
            changed = await self.link.changed()
        except Invalid:
            self.faulty = True
            raise
        self.faulty = self.faulty or changed
        return changed

    def asked(self) -> Counter[str]:
        """What it asked for that it was not given, since this was asked last."""
        refused = self.link.ears.refused
        found = Counter(refused)
        refused.clear()
        return found

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except Broken as broken:
            raise self._explained(broken) from broken

    def _explained(self, error: Exception) -> Exception:
        """What went wrong, as people are told it."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, Broken | OSError):
            return error
        self.faulty = True
        kind = type(error) if isinstance(error, Broken) else Broken
        return kind(f"the MCP server {self.name!r}: {self.link.explain(error)}")

    def _speaking(self) -> "Conversation":
        if self._conversation is None or self.ended.is_set():
            raise Broken("it has ended")
        return self._conversation

    async def _until_end(self) -> None:
        async with anyio.create_task_group() as tasks:
            for event in (self.stop, self.link.ears.ended):
                tasks.start_soon(_then, event, tasks.cancel_scope)


async def _then(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _library() -> ModuleType:
    """The library, in a thread: its import takes a second or two."""
    return import_module("dominie_tool.mcp.client")
