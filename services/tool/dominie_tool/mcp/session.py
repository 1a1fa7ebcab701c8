"""One server that runs: started, looked at, called, and ended."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from dominie_tool.mcp.box import open_server
from dominie_tool.mcp.errors import Broken
from dominie_tool.mcp.program import Program, find_program
from dominie_tool.mcp.wire import Ears, wire
from dominie_tool.sandbox.cgroup import Cgroup
from dominie_tool.sandbox.values import Limits

if TYPE_CHECKING:
    from dominie_tool.mcp.client import Conversation


log = structlog.get_logger()
_LOOK_S = 2.0
"""So often, at most, a program's files are looked at while it runs."""


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


@dataclass(slots=True, eq=False)
class Session:
    """A server that runs for somebody.

    Attributes:
        busy: How many calls it has.
        used: When it was called last, by the loop's clock.
        faulty: It shall take no more calls.
        ready: It can be called, or `failed` says why it cannot.
    """

    server: Server
    whose: Whose
    bounds: Bounds
    busy: int = 0
    used: float = field(default_factory=anyio.current_time)
    faulty: bool = False
    failed: Exception | None = None
    ready: anyio.Event = field(default_factory=anyio.Event)
    stop: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)
    _ears: Ears = field(init=False)
    _program: dict[str, str] = field(default_factory=dict)
    _looked: float = 0.0
    _cgroup: Cgroup | None = None
    _conversation: "Conversation | None" = None

    def __post_init__(self) -> None:
        self._ears = Ears(self.bounds.output_bytes)

    async def run(self) -> None:
        """Start it, and keep it until `stop` is set or it ends."""
        try:
            await self._run()
        except Exception as error:
            log.warning("mcp.server_failed", server=self.server.name, error=repr(error))
            self.failed = self._explained(error)
        finally:
            self.faulty = True
            self.ready.set()
            self.ended.set()

    async def _run(self) -> None:
        with anyio.move_on_after(self.bounds.start_s) as starting:
            program = await to_thread.run_sync(self._find)
            client = await to_thread.run_sync(_library)
            self._program, self._looked = program.pins, anyio.current_time()
            async with open_server(program, self.bounds.limits) as box:
                self._cgroup = box.cgroup
                streams = wire(box.process, self._ears)
                try:
                    async with client.converse(streams, self._ears.refused) as conversation:
                        self._conversation = conversation
                        if await self._changed():
                            raise Broken("its program changed while it was started")
                        starting.deadline = float("inf")
                        self.ready.set()
                        await self._until_end()
                finally:
                    self._see_why()
        if starting.cancelled_caught:
            raise Broken(f"it did not answer within {self.bounds.start_s:g} s")

    async def listing(self) -> Listing:
        """What it offers now, and what it runs from: it may read its program's files at any time."""
        with self._explaining():
            if anyio.current_time() - self._looked >= _LOOK_S:
                await self._changed()
            return await self._speaking().listing(self._program)

    async def call(self, tool: str, arguments: dict[str, JsonValue]) -> JsonValue:
        """Call a tool; see `Conversation.call`."""
        with self._explaining():
            return await self._speaking().call(tool, arguments)

    async def _changed(self) -> bool:
        """Look at its program's files again; where one is another it is not what was started, and takes no more calls.

        Raises:
            Invalid: There is no such program any more.
            Broken: It changes at this moment.
        """
        begun = anyio.current_time()
        try:
            pins = (await to_thread.run_sync(self._find)).pins
        except Invalid:
            self.faulty = True
            raise
        except OSError as error:
            raise Broken(f"its program cannot be read: {error}") from error
        changed = pins != self._program
        self.faulty = self.faulty or changed
        self._program, self._looked = pins, begun
        return changed

    def asked(self) -> Counter[str]:
        """What it asked for that it was not given, since this was asked last."""
        found = Counter(self._ears.refused)
        self._ears.refused.clear()
        return found

    @contextmanager
    def _explaining(self) -> Iterator[None]:
        try:
            yield
        except Broken as broken:
            raise self._explained(broken) from broken

    def _explained(self, error: Exception) -> Exception:
        """What went wrong, with what it was ended for and its last words."""
        while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if not isinstance(error, Broken | OSError):
            return error
        self.faulty = True
        self._see_why()
        why = self._ears.why or (str(error) if isinstance(error, Broken) else f"it could not be started: {error}")
        said = f"; its last words: {self._ears.last_words!r}" if self._ears.last_words else ""
        return Broken(f"the MCP server {self.server.name!r}: {why}{said}")

    def _see_why(self) -> None:
        with suppress(OSError):  # it is gone, and this was asked before
            if self._cgroup is not None and not self._ears.why and self._cgroup.starved():
                self._ears.why = f"it needed more than {self.bounds.limits.memory_mb} MB"

    def _speaking(self) -> "Conversation":
        if self._conversation is None or self.ended.is_set():
            raise Broken("it has ended")
        return self._conversation

    async def _until_end(self) -> None:
        async with anyio.create_task_group() as tasks:
            for event in (self.stop, self._ears.ended):
                tasks.start_soon(_then, event, tasks.cancel_scope)

    def _find(self) -> Program:
        return find_program(self.server.command, self.server.reads, secret=self.bounds.secret)


async def _then(event: anyio.Event, scope: anyio.CancelScope) -> None:
    await event.wait()
    scope.cancel()


def _library() -> ModuleType:
    """The library, in a thread: its import takes a second or two."""
    return import_module("dominie_tool.mcp.client")
