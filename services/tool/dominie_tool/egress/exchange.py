"""One plain request and its answer, passed on between a client and a host."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import h11

from dominie_tool.egress.head import CLOSE, Headers, end_to_end

_CRUMB_BYTES, _MOST_CRUMBS = 64, 50_000
"""Whatever is said costs some 20 µs of the processor's time, however little that is."""
_TURN = 256
"""After so many others have their turn: they would wait for all that was received at once."""


class Side:
    """One of the two that are spoken with: what it says as h11's events."""

    def __init__(
        self,
        spoken: h11.Connection,
        receive: Callable[[], Awaitable[bytes]],
        send: Callable[[bytes], Awaitable[None]],
    ) -> None:
        self.spoken = spoken
        self._receive = receive
        self._send = send
        self._heard = self._crumbs = 0

    async def next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        """What it says next.

        Raises:
            h11.RemoteProtocolError: It does not speak HTTP, or in crumbs.
        """
        while (event := self.spoken.next_event()) is h11.NEED_DATA:
            try:
                self.spoken.receive_data(await self._receive())
            except anyio.EndOfStream:
                self.spoken.receive_data(b"")
        self._heard += 1
        if self._heard % _TURN == 0:
            await anyio.lowlevel.checkpoint()
        if not isinstance(event, h11.Data) or len(event.data) < _CRUMB_BYTES:
            self._crumbs += 1
        if self._crumbs > _MOST_CRUMBS:
            raise h11.RemoteProtocolError(f"it says more than {_MOST_CRUMBS:,} crumbs of under {_CRUMB_BYTES} bytes")
        return event

    async def say(self, event: h11.Event) -> None:
        """Say something to it."""
        if data := self.spoken.send(event):
            await self._send(data)


async def exchange(client: Side, host: Side, request: h11.Request) -> None:
    """Pass a request on, and its answer back. The host is asked to close: no second request goes its way.

    Raises:
        h11.ProtocolError: One of the two does not speak HTTP.
    """
    await host.say(request)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_pass_body, client, host)
        await _pass_answer(host, client)
        tasks.cancel_scope.cancel()


async def _pass_body(client: Side, host: Side) -> None:
    if client.spoken.they_are_waiting_for_100_continue:
        await client.say(h11.InformationalResponse(status_code=100, headers=[]))
    while isinstance(event := await client.next(), h11.Data):
        await host.say(event)
    if isinstance(event, h11.EndOfMessage):
        await host.say(h11.EndOfMessage())


async def _pass_answer(host: Side, client: Side) -> None:
    while not isinstance(event := await host.next(), h11.Response):
        if not isinstance(event, h11.InformationalResponse):
            raise h11.RemoteProtocolError("the host closed without an answer")
    headers: Headers = [*end_to_end(list(event.headers)), CLOSE]
    await client.say(h11.Response(status_code=event.status_code, headers=headers, reason=event.reason))
    while isinstance(part := await host.next(), h11.Data):
        await client.say(h11.Data(data=part.data))
    if isinstance(part, h11.EndOfMessage):
        await client.say(h11.EndOfMessage())
