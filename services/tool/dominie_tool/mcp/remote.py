"""The way to a server over HTTP: through the gate that sandboxed tools have, to one host, with its own secrets."""

from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib import import_module
from typing import TYPE_CHECKING

from anyio import to_thread

from dominie_contracts.digests import digest_json
from dominie_contracts.servers import Server
from dominie_tool.egress import Egress, Secret
from dominie_tool.egress.redaction import Redactor
from dominie_tool.mcp.address import address_of
from dominie_tool.mcp.ears import Ears
from dominie_tool.mcp.headers import filled

if TYPE_CHECKING:
    from dominie_tool.mcp.link import Streams


class Remote:
    """A server that runs elsewhere; see `Link`."""

    lingers = True

    def __init__(
        self, server: Server, given: tuple[Secret, ...], egress: Egress, *, tenant: str, output_bytes: int
    ) -> None:
        """Be it.

        Args:
            server: Which.
            given: The secrets that its headers name.
            egress: The way out.
            tenant: Whose server it is.
            output_bytes: How long an answer may be.

        Raises:
            Invalid: No server is reached there, or a secret is for other hosts.
        """
        assert server.url is not None
        self.ears = Ears(output_bytes)
        self.pins: Mapping[str, str] = pins_of(server)
        self._address = address_of(server.url)
        self._headers = filled(server.headers, given, self._address.host)
        self._redactor = Redactor(each.value for each in given)
        self._way = egress.way(self._address.network, tenant=tenant)

    @asynccontextmanager
    async def open(self) -> AsyncIterator["Streams"]:
        """Get ready: each request has a connection of its own."""
        await to_thread.run_sync(import_module, "dominie_tool.mcp.http")
        from dominie_tool.mcp.http import http_streams

        yield http_streams(self._address, self._way, self._headers, self.ears, self._redactor)

    async def changed(self) -> bool:
        """What it runs from is not known here."""
        return False

    def calling(self) -> AbstractAsyncContextManager[None]:
        """It is asked over a way of our own."""
        return nullcontext()

    def explain(self, error: Exception) -> str:
        """What it did, without the secrets that it was told."""
        return self._redactor.cut(str(error))


def pins_of(server: Server) -> dict[str, str]:
    """What is pinned of a server over HTTP, beside what it says of itself: where it is, and what it is sent."""
    return {str(server.url): digest_json({"url": server.url, "headers": dict(server.headers)})}
