"""A server's standard input and output as the `mcp` library's streams, within bounds.

One line is one message (JSON-RPC 2.0). A server that writes a longer line than may be, more between two requests than
may be, or what is no message again and again, is ended.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
from anyio import to_thread
from anyio.abc import ByteReceiveStream, Process
from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from dominie_tool.egress.redaction import Redactor
from dominie_tool.mcp.ears import Ears, check_size
from dominie_tool.mcp.errors import Broken

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)
_KEPT = 2_000
_FREE = 65_536
_PAUSE_S = 0.05
_MOST_ODD = 20
_GONE = (anyio.EndOfStream, anyio.ClosedResourceError, anyio.BrokenResourceError, OSError)


@asynccontextmanager
async def wire(process: Process, ears: Ears, redactor: Redactor) -> AsyncIterator["TransportStreams"]:
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
                        await heard.send(_message(await _without_secrets(line, redactor), ears))
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


async def _without_secrets(line: bytes, redactor: Redactor) -> bytes:
    """A line without what a host may have told it, taken out in a thread: some have megabytes."""
    if not redactor:
        return line
    check_size(line)
    try:
        found = _JSON.validate_json(line)
    except ValueError:
        return redactor.text(line.decode(errors="replace")).encode()
    return to_json(await to_thread.run_sync(redactor.value, found))


def _message(line: bytes, ears: Ears) -> "SessionMessage | Exception":
    from mcp.shared.message import SessionMessage

    try:
        return SessionMessage(ears.read(line))
    except ValueError as odd:
        ears.odd += 1
        if ears.odd >= _MOST_ODD:
            raise Broken(f"it wrote {_MOST_ODD} lines that are no messages, at last {line[:80]!r}") from odd
        return ValueError("no message")


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
