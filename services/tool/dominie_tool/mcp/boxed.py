"""The way to a server in a box: its program, looked at again while it runs, and its pipes."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread

from dominie_contracts.servers import Server
from dominie_tool.egress import Lasting
from dominie_tool.egress.redaction import Redactor
from dominie_tool.mcp.asking import asked
from dominie_tool.mcp.box import ServerBox, open_server
from dominie_tool.mcp.ears import Ears
from dominie_tool.mcp.errors import Broken
from dominie_tool.mcp.profile import pins_of
from dominie_tool.mcp.program import Program, find_program
from dominie_tool.mcp.wire import wire
from dominie_tool.sandbox.cgroup import Cgroup
from dominie_tool.sandbox.network import handed_out
from dominie_tool.sandbox.values import Limits

if TYPE_CHECKING:
    from dominie_tool.mcp.link import Streams

_LOOK_S = 2.0
"""So often, at most, a program's files are looked at while it runs."""


class Boxed:
    """A server that runs here; see `Link`."""

    lingers = False
    """What is broken in a box is ended at once: it may use up what it has."""

    def __init__(
        self,
        server: Server,
        limits: Limits,
        network: Lasting | None = None,
        *,
        output_bytes: int,
        secret: tuple[Path, ...],
    ) -> None:
        """Be it, with its way out where it has one; see `Bounds`."""
        self._network = network
        self._redactor = network.redactor if network else Redactor(())
        self.ears = Ears(output_bytes)
        self.pins: Mapping[str, str] = {}
        self._server = server
        self._limits = limits
        self._secret = secret
        self._looked = 0.0
        self._cgroup: Cgroup | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Streams"]:
        """Start it."""
        program = await to_thread.run_sync(self._find)
        self.pins, self._looked = self._pins(program), -_LOOK_S
        secrets = self._network.environment if self._network else {}
        environment = {**self._server.environment, **secrets}
        async with (
            open_server(program, self._limits, environment, networked=self._network is not None) as box,
            self._listening(box),
        ):
            self._cgroup = box.cgroup
            try:
                yield wire(box.process, self.ears, self._redactor)
            finally:
                self._see_why()

    def calling(self) -> AbstractAsyncContextManager[None]:
        """Have its way out open."""
        return self._connected(self._network) if self._network else nullcontext()

    @asynccontextmanager
    async def _connected(self, network: Lasting) -> AsyncIterator[None]:
        under_way = asked()
        async with network.call(under_way.ledger):
            under_way.sent = under_way.settled = True
            yield

    @asynccontextmanager
    async def _listening(self, box: ServerBox) -> AsyncIterator[None]:
        if self._network is None or box.network is None:
            yield
            return
        async with await handed_out(box.network) as listener:
            self._network.listens(listener)
            yield

    def _pins(self, program: Program) -> Mapping[str, str]:
        return {**program.pins, **pins_of(self._server)}

    async def changed(self) -> bool:
        """Look at its program's files again, if that was not done a moment ago."""
        begun = anyio.current_time()
        if begun - self._looked < _LOOK_S:
            return False
        try:
            pins = self._pins(await to_thread.run_sync(self._find))
        except OSError as error:
            raise Broken(f"its program cannot be read: {error}") from error
        changed = pins != self.pins
        self.pins, self._looked = pins, begun
        return changed

    def explain(self, error: Exception) -> str:
        """What it was ended for, and its last words."""
        self._see_why()
        why = self.ears.why or (str(error) if isinstance(error, Broken) else f"it could not be started: {error}")
        said = f"; its last words: {self.ears.last_words!r}" if self.ears.last_words else ""
        return self._redactor.cut(why + said)

    def _see_why(self) -> None:
        with suppress(OSError):  # it is gone, and this was asked before
            if self._cgroup is not None and not self.ears.why and self._cgroup.starved():
                self.ears.why = f"it needed more than {self._limits.memory_mb} MB"

    def _find(self) -> Program:
        return find_program(self._server.command, self._server.reads, secret=self._secret)
