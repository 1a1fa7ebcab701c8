"""A connection to a host: its bytes are counted and bounded, and it does not stay open for nothing."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import anyio
from anyio.abc import ByteStream, SocketStream
from anyio.streams.tls import TLSStream

from dominie_tool.egress.addresses import Address
from dominie_tool.egress.gate import Target
from dominie_tool.egress.ledger import Ledger, Tally
from dominie_tool.egress.values import Refused

Dial = Callable[[Address, int], Awaitable[SocketStream]]
"""Connects to an address; OSError where nobody answers."""
CHUNK = 65_536


class Line:
    """A connection to a host, while it is `watched`."""

    def __init__(self, stream: ByteStream, target: Target, ledger: Ledger, tally: Tally) -> None:
        self._stream = stream
        self._target = target
        self._ledger = ledger
        self._tally = tally
        self._clock = anyio.CancelScope()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """End what is done with it once nothing has moved for too long.

        Raises:
            Refused: Nothing has.
        """
        with self._clock:
            self._moved(0)
            yield
        if self._clock.cancelled_caught:
            raise Refused(self._target.host, self._target.port, "too-slow")

    async def send(self, data: bytes) -> None:
        """Send.

        Raises:
            Refused: The call has moved too much.
        """
        self._moved(len(data))
        await self._stream.send(data)
        self._tally.sent += len(data)

    async def receive(self) -> bytes:
        """Some bytes.

        Raises:
            anyio.EndOfStream: There are no more.
            Refused: The call has moved too much.
        """
        data = await self._stream.receive(CHUNK)
        self._tally.received += len(data)
        self._moved(len(data))
        return data

    async def send_eof(self) -> None:
        """Send no more."""
        await self._stream.send_eof()

    def _moved(self, amount: int) -> None:
        self._clock.deadline = anyio.current_time() + self._ledger.bounds.idle_s
        if not self._ledger.spend(amount):
            raise Refused(self._target.host, self._target.port, "too-much")


@asynccontextmanager
async def open_line(target: Target, dial: Dial, ledger: Ledger, tls: ssl.SSLContext | None) -> AsyncIterator[Line]:
    """Connect to one of a target's addresses, which are tried in order; with `tls`, the host proves who it is.

    Raises:
        Refused: None answers in time, or it does not prove that.
    """
    try:
        with anyio.fail_after(ledger.bounds.connect_s):
            plain, address = await _first(target, dial)
    except (OSError, TimeoutError) as error:
        raise Refused(target.host, target.port, "unreachable") from error
    async with plain:
        tally = ledger.connected(target.host, target.port, str(address))
        stream = plain if tls is None else await _secured(plain, target, tls, ledger.bounds.connect_s)
        yield Line(stream, target, ledger, tally)


async def _first(target: Target, dial: Dial) -> tuple[SocketStream, Address]:
    *others, last = target.addresses
    for address in others:
        try:
            return await dial(address, target.port), address
        except OSError:
            continue
    return await dial(last, target.port), last


async def _secured(stream: SocketStream, target: Target, tls: ssl.SSLContext, within_s: float) -> ByteStream:
    try:
        with anyio.fail_after(within_s):
            return await TLSStream.wrap(stream, hostname=target.host, ssl_context=tls)
    except ssl.SSLError as error:
        raise Refused(target.host, target.port, "certificate") from error
    except (OSError, TimeoutError, anyio.BrokenResourceError, anyio.EndOfStream) as error:
        raise Refused(target.host, target.port, "unreachable") from error


@contextmanager
def slow(host: str, port: int, within_s: float) -> Iterator[None]:
    """Refuse who takes longer.

    Raises:
        Refused: They do.
    """
    try:
        with anyio.fail_after(within_s):
            yield
    except TimeoutError as error:
        raise Refused(host, port, "too-slow") from error
