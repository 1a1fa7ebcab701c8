"""The network of a box that outlives its calls: open while one of them is under way, and on that one's record."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

import anyio
from anyio.abc import SocketListener

from dominie_tool.egress.ledger import Ledger
from dominie_tool.egress.proxy import Proxy
from dominie_tool.egress.redaction import Redactor


class Lasting:
    """One box's network. A call has it for itself, and what it has open ends with it; between calls nothing is reached.

    Attributes:
        environment: What stands for its secrets, by their names, for as long as the box lives.
        redactor: Takes them out of what it says.
    """

    def __init__(self, proxy: Callable[[Ledger], Proxy], environment: Mapping[str, str], redactor: Redactor) -> None:
        """Be it; `proxy` makes the one of a call, which looks names up anew."""
        self.environment = environment
        self.redactor = redactor
        self._proxy = proxy
        self._turn = anyio.Lock()
        self._listener: SocketListener | None = None

    def listens(self, listener: SocketListener) -> None:
        """Where the box's clients connect to; until then nothing is reached."""
        self._listener = listener

    @asynccontextmanager
    async def call(self, ledger: Ledger) -> AsyncIterator[None]:
        """Have it open for one call, whose ledger says what is reached; others wait for their turn."""
        failed = None
        async with self._turn, anyio.create_task_group() as connections:
            if self._listener is not None:
                connections.start_soon(partial(self._proxy(ledger).serve, self._listener, last=False))
            try:
                yield
            except Exception as error:  # a task group would wrap it
                failed = error
            connections.cancel_scope.cancel()
        if failed is not None:
            raise failed
