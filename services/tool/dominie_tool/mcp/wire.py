"""A server's standard input and output as the `mcp` library's streams, within bounds.

One line is one message (JSON-RPC 2.0). A server that writes a longer line than may be, more between two requests than
may be, or what is no message again and again, is ended.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
from anyio.abc import ByteReceiveStream, Process

from dominie_tool.mcp.errors import Broken
from dominie_tool.sandbox.crowds import MOST_DEEP, MOST_PARTS, crowded, deep

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

_KEPT = 2_000
_FREE = 65_536
_PAUSE_S = 0.05
_MOST_ODD = 20
_ASKING = ("sampling/createMessage", "elicitation/create", "roots/list")
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


@dataclass(slots=True)
class Ears:
    """What is heard of a server.

    Attributes:
        most: The bytes that it may write until the next request is sent.
        why: Why it was ended, if it was.
        said: The end of what it wrote to its standard error.
        refused: What it asked for that no server is given, how often: the session's answer to each is an error.
    """

    most: int
    left: int = 0
    odd: int = 0
    why: str = ""
    said: bytes = b""
    refused: Counter[str] = field(default_factory=Counter)
    ended: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.left = self.most

    def asked(self) -> None:
        """A request was sent, so there is something to say again."""
        self.left = self.most

    @property
    def last_words(self) -> str:
        """What it wrote to its standard error last, in one line."""
        return " ".join(self.said.decode(errors="replace").split())[-300:]

    def take(self, count: int) -> None:
        """Count what was written.

        Raises:
            Broken: That is too much.
        """
        self.left -= count
        if self.left < 0:
            raise Broken(f"it wrote more than {self.most} bytes without being asked for that")


@asynccontextmanager
async def wire(process: Process, ears: Ears) -> AsyncIterator["TransportStreams"]:
    """The streams between a session and a server. When it ends or is ended, what is read ends, and `ears` say why."""
    import mcp_types
    from mcp.shared.message import SessionMessage

    heard, read = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    write, told = anyio.create_memory_object_stream[SessionMessage](0)

    async def hear() -> None:
        assert process.stdout is not None
        async with heard:
            try:
                async for line in _lines(process.stdout, ears):
                    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
                        await heard.send(_message(line, ears))
            except Broken as broken:
                ears.why = str(broken)
            finally:
                ears.ended.set()

    async def tell() -> None:
        assert process.stdin is not None
        with suppress(*_GONE):
            async for message in told:
                if isinstance(message.message, mcp_types.JSONRPCRequest):
                    ears.asked()  # an answer of ours asks for nothing
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(text.encode() + b"\n")

    async with anyio.create_task_group() as tasks, read, write, told:
        tasks.start_soon(hear)
        tasks.start_soon(tell)
        tasks.start_soon(_listen, process, ears)
        try:
            yield read, write
        finally:
            tasks.cancel_scope.cancel()


def _message(line: bytes, ears: Ears) -> "SessionMessage | Exception":
    import mcp_types
    from mcp.shared.message import SessionMessage

    if crowded(line):
        raise Broken(f"it said more than {MOST_PARTS:,} parts at once")
    if deep(line):
        raise Broken(f"it said what is nested more than {MOST_DEEP} deep")
    try:
        message = mcp_types.jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValueError as odd:
        ears.odd += 1
        if ears.odd >= _MOST_ODD:
            raise Broken(f"it wrote {_MOST_ODD} lines that are no messages, at last {line[:80]!r}") from odd
        return ValueError("no message")
    if isinstance(message, mcp_types.JSONRPCRequest) and message.method in _ASKING:
        ears.refused[message.method] += 1
    return SessionMessage(message)


async def _lines(stream: ByteReceiveStream, ears: Ears) -> AsyncIterator[bytes]:
    rest = b""
    with suppress(*_GONE):
        while True:
            data = await stream.receive()
            ears.take(len(data))
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                if line.strip():
                    yield line


async def _listen(process: Process, ears: Ears) -> None:
    """Hear its standard error, of which the end is kept; who writes much of it is heard slowly."""
    assert process.stderr is not None
    count = 0
    with suppress(*_GONE):
        while True:
            data = await process.stderr.receive()
            ears.said = (ears.said + data)[-_KEPT:]
            count += len(data)
            if count > _FREE:
                await anyio.sleep(_PAUSE_S)
