"""The proxy of one call: each connection to it is a tunnel, or one plain request.

A plain request goes out in TLS, unless it is to port 80: so a client needs none of its own.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial

import anyio
import h11
import structlog
from anyio.abc import SocketListener, SocketStream

from dominie_tool.egress.exchange import Side, exchange
from dominie_tool.egress.gate import Gate
from dominie_tool.egress.head import Asked, asked_of, authority, passed_on
from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.line import CHUNK, Dial, open_line, slow
from dominie_tool.egress.placeholders import Placeholders
from dominie_tool.egress.tunnel import tunnel
from dominie_tool.egress.values import Refused

log = structlog.get_logger()
_HTTP, _HTTPS = 80, 443
_OPEN = b"HTTP/1.1 200 Connection established\r\n\r\n"
_FAREWELL_S, _FAREWELL_BYTES = 1.0, 2**20
_BROKEN = (anyio.BrokenResourceError, anyio.BusyResourceError, anyio.ClosedResourceError, anyio.EndOfStream)
_GONE = (OSError, *_BROKEN, h11.ProtocolError)
"""What it is when one of the two goes away, speaks out of turn, or does not speak HTTP, in the middle."""


class Proxy:
    """Answers the connections of one call."""

    def __init__(
        self, gate: Gate, ledger: Ledger, dial: Dial, tls: Callable[[], ssl.SSLContext], placeholders: Placeholders
    ) -> None:
        self._gate = gate
        self._ledger = ledger
        self._dial = dial
        self._tls = tls
        self._placeholders = placeholders
        self._open = 0
        self._full = anyio.Event()

    async def serve(self, listener: SocketListener, *, last: bool = True) -> None:
        """Answer whoever connects, until this is cancelled; who has connected too often is not listened to any more.

        Where others listen after this, its `last` word is not the box's: that waits for them.
        """
        async with anyio.create_task_group() as answers:
            with anyio.CancelScope() as listening:
                answers.start_soon(self._until_full, listening)
                with suppress(anyio.ClosedResourceError):  # the box is gone
                    await listener.serve(self._answer, answers)
            if last:
                await listener.aclose()

    async def _until_full(self, listening: anyio.CancelScope) -> None:
        await self._full.wait()
        listening.cancel()

    async def _answer(self, client: SocketStream) -> None:
        """Answer one connection to its end. What nobody thought of ends it, and not its call."""
        try:
            async with client:
                with suppress(Refused, *_GONE), self._told(), self._slot():
                    await self._converse(client)
        except Exception as error:
            log.exception("egress.failed", error=type(error).__name__)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Count what is refused, before anything is awaited: the call may end with the next byte that its tool gets."""
        try:
            with _first_fault():
                yield
        except Refused as refused:
            if not refused.told:
                self._ledger.refuse(refused)
                refused.told = True
            raise

    @contextmanager
    def _slot(self) -> Iterator[None]:
        bounds = self._ledger.bounds
        self._ledger.connections += 1
        if self._ledger.connections > bounds.connections:
            self._full.set()
        if self._open >= bounds.at_once or self._full.is_set():
            raise Refused("", 0, "too-many")
        self._open += 1
        try:
            yield
        finally:
            self._open -= 1

    async def _converse(self, client: SocketStream) -> None:
        bounds = self._ledger.bounds
        spoken = h11.Connection(h11.SERVER, max_incomplete_event_size=bounds.head_bytes)
        side = Side(spoken, partial(client.receive, CHUNK), client.send)
        async with AsyncExitStack() as opened:
            try:
                with self._told():
                    request, asked = await self._asked(side)
                    target = await self._gate.check(asked.host, self._port(asked))
                    secure = not asked.tunnel and (asked.secure or target.port != _HTTP)
                    headers = self._placeholders.swapped(list(request.headers), target, secure=secure)
                    line = open_line(target, self._dial, self._ledger, self._tls() if secure else None)
                    host = await opened.enter_async_context(line)
            except Refused as refused:
                await _say_refused(client, refused)
                raise
            with self._told(), host.watched():
                if asked.tunnel:
                    await client.send(_OPEN)
                    await tunnel(client, spoken.trailing_data[0], host, target, hello_s=bounds.head_s)
                else:
                    other = Side(h11.Connection(h11.CLIENT), host.receive, host.send)
                    named = authority(target.host, target.port, secure=secure)
                    await exchange(side, other, passed_on(request, asked, headers, named))

    async def _asked(self, side: Side) -> tuple[h11.Request, Asked]:
        try:
            with slow("", 0, self._ledger.bounds.head_s):
                request = await side.next()
        except h11.RemoteProtocolError as error:
            why = "too-large" if error.error_status_hint == 431 else "no-request"
            raise Refused("", 0, why) from error
        if not isinstance(request, h11.Request):
            raise anyio.EndOfStream  # it left without a word
        return request, asked_of(request)

    def _port(self, asked: Asked) -> int:
        """The port that is meant; where only TLS is open, a plain request goes out in TLS."""
        if asked.port is not None:
            return asked.port
        return _HTTP if not asked.secure and _HTTP in self._gate.network.ports else _HTTPS


async def _say_refused(client: SocketStream, refused: Refused) -> None:
    """Say why, and hear out what the client still says: it would not read an answer on a broken connection."""
    reason = "".join(c if c.isascii() and c.isprintable() else "?" for c in str(refused))
    head = f"HTTP/1.1 403 {reason}\r\ncontent-type: text/plain\r\ncontent-length: {len(reason)}\r\nconnection: close"
    left = _FAREWELL_BYTES
    with suppress(*_GONE), anyio.move_on_after(_FAREWELL_S):
        await client.send(f"{head}\r\n\r\n{reason}".encode())
        await client.send_eof()
        while left > 0:
            left -= len(await client.receive(CHUNK))


@contextmanager
def _first_fault() -> Iterator[None]:
    """Of several things that went wrong at once the first."""
    try:
        yield
    except ExceptionGroup as group:
        fault: Exception = group
        while isinstance(fault, ExceptionGroup):
            fault = fault.exceptions[0]
        raise fault from group
