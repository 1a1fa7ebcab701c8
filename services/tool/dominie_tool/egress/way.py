"""The way out of what the service itself says to a host for a tool: the same gate, and no box on this side of it."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from dominie_tool.egress.gate import Gate
from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.line import Dial, Line, open_line
from dominie_tool.egress.values import Refused


class Way:
    """To the hosts of one network, each of which is looked up once. A host proves who it is."""

    def __init__(self, gate: Gate, dial: Dial, tls: Callable[[], ssl.SSLContext]) -> None:
        self._gate = gate
        self._dial = dial
        self._tls = tls

    @asynccontextmanager
    async def line(self, host: str, port: int, ledger: Ledger) -> AsyncIterator[Line]:
        """A connection, which counts for a ledger.

        Raises:
            Refused: It is not made, or it has moved too much.
        """
        try:
            ledger.connections += 1
            if ledger.connections > ledger.bounds.connections:
                raise Refused(host, port, "too-many")
            target = await self._gate.check(host, port)
            async with open_line(target, self._dial, ledger, self._tls()) as line:
                yield line
        except Refused as refused:
            ledger.refuse(refused)
            refused.told = True
            raise
