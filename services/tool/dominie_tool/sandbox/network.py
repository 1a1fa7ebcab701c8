"""A box with a way out: its program listens on the box's own loopback, and hands that to somebody outside.

That happens before the box gets any work, so what comes out is the listener of our own program; nothing inside has it
any more, and no file or address of the host leads to it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import anyio
from anyio.abc import SocketListener

from dominie_tool.sandbox.box import Box, open_box
from dominie_tool.sandbox.certificates import CERTIFICATES
from dominie_tool.sandbox.inside import PROXY_PORT
from dominie_tool.sandbox.values import Host, Limits

Serve = Callable[[SocketListener], Coroutine[Any, Any, None]]
"""Answers what connects to a listener, until it is cancelled."""
_PROXY = f"http://127.0.0.1:{PROXY_PORT}"
PROXIED = {
    **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _PROXY),
    **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), CERTIFICATES),
}
"""How ordinary clients find the way out, and the certificates."""


def way_out(serve: Serve) -> Callable[[Host, Limits], AbstractAsyncContextManager[Box]]:
    """Builds boxes whose tools have this one way out."""

    @asynccontextmanager
    async def opened(host: Host, limits: Limits) -> AsyncIterator[Box]:
        async with open_box(host, limits, networked=True) as box:
            assert box.network is not None
            async with await handed_out(box.network) as listener, anyio.create_task_group() as tasks:
                tasks.start_soon(serve, listener)
                yield box
                tasks.cancel_scope.cancel()

    return opened


async def handed_out(line: socket.socket) -> SocketListener:
    """What a box's own program has handed out of it, before it had any work."""
    await anyio.wait_readable(line)
    _, descriptors, _, _ = socket.recv_fds(line, 1, 1)
    if not descriptors:
        raise OSError("it handed out nothing")
    return await SocketListener.from_socket(descriptors[0])
