"""A tunnel: its first words say in TLS whom it is for, then it is bytes in both directions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
from anyio.abc import ByteStream

from dominie_tool.egress.gate import Target
from dominie_tool.egress.hello import NotHello, server_name
from dominie_tool.egress.line import CHUNK, Line, slow
from dominie_tool.egress.values import Refused

Receive = Callable[[], Awaitable[bytes]]
Send = Callable[[bytes], Awaitable[None]]
End = Callable[[], Awaitable[None]]


async def tunnel(client: ByteStream, said: bytes, host: Line, target: Target, *, hello_s: float) -> None:
    """Move bytes until both have said all.

    Args:
        client: Who wanted it.
        said: What it has said already.
        host: The host.
        target: Who that is.
        hello_s: Until its first words are here.

    Raises:
        Refused: The client does not say in TLS that it is for this host.
    """
    with slow(target.host, target.port, hello_s):
        hello = await _hello(client, said, target)
    await host.send(hello)
    async with anyio.create_task_group() as both:
        both.start_soon(_pump, lambda: client.receive(CHUNK), host.send, host.send_eof)
        both.start_soon(_pump, host.receive, client.send, client.send_eof)


async def _hello(client: ByteStream, said: bytes, target: Target) -> bytes:
    try:
        while (name := server_name(said)) is None:
            said += await client.receive(CHUNK)
    except NotHello as error:
        raise Refused(target.host, target.port, error.why) from error
    except anyio.EndOfStream as error:
        raise Refused(target.host, target.port, "no-hello") from error
    if name != target.host:
        raise Refused(target.host, target.port, "other-name")
    return said


async def _pump(receive: Receive, send: Send, end: End) -> None:
    while True:
        try:
            data = await receive()
        except anyio.EndOfStream:
            await end()
            return
        await send(data)
