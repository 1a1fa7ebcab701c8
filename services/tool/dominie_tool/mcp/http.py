"""A server over streamable HTTP, by the `mcp` library: imported where one is called. This is how its requests go out.

Each request has a connection of its own, so that what could not be connected has surely done nothing. Nobody is
followed, nothing is kept or unpacked, and nobody is listened to who was not asked. What the library hears are messages
that were read here, without secrets; where there are none it hears an error of ours.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import httpx2
from mcp.client.streamable_http import streamable_http_client

from dominie_tool.egress import Way
from dominie_tool.egress.head import Headers
from dominie_tool.egress.redaction import Redactor
from dominie_tool.mcp.address import Address
from dominie_tool.mcp.asking import asked
from dominie_tool.mcp.ears import Ears
from dominie_tool.mcp.exchange import FAULTS, Exchange

if TYPE_CHECKING:
    from mcp.client._transport import TransportStreams

_SHORT_S = 5.0
"""For what asks for no answer."""
_MOST_RESUMED = 8
"""So often an answer that broke off is asked for again, where the server offers that."""


@dataclass(frozen=True, slots=True)
class Wire(httpx2.AsyncBaseTransport):
    """How the library's requests go out."""

    address: Address
    way: Way
    headers: Headers
    ears: Ears
    redactor: Redactor

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Answer a request of the library; never with an exception, which would end the session without a word."""
        if request.method == "GET" and not _resumes(request):
            return httpx2.Response(405)
        exchange = Exchange(request, await request.aread(), self.address, self.ears, self.redactor)
        try:
            with anyio.fail_after(None if exchange.waits else _SHORT_S):
                return await exchange.answer(self.way, self.headers)
        except FAULTS as fault:
            await exchange.aclose()
            return exchange.instead(fault)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await exchange.aclose()
            raise


def _resumes(request: httpx2.Request) -> bool:
    """Whether a request asks for the rest of an answer, and not too often; the library listens with others as well."""
    if "last-event-id" not in request.headers:
        return False
    asked().resumed += 1
    return asked().resumed <= _MOST_RESUMED


@asynccontextmanager
async def http_streams(
    address: Address, way: Way, headers: Headers, ears: Ears, redactor: Redactor
) -> AsyncIterator[TransportStreams]:
    """The streams between a session and a server; at the end the server is told that its session is over."""
    wire = Wire(address, way, headers, ears, redactor)
    url = f"https://{address.authority.decode()}{address.target.decode()}"
    async with httpx2.AsyncClient(transport=wire, trust_env=False, timeout=None) as client:
        async with streamable_http_client(url, http_client=client, max_sse_event_size=None) as streams:
            yield streams
