"""nats-py's client, which comes back however its connection ended.

nats-py 2.16 stays away for good, or for ten seconds at a time, where a broker ends while the client is connecting anew:
what the last connection left half read spoils each one after it, its reader takes the next one's bytes, an error that
is neither the network's nor NATS's ends the reading or the reconnecting without a word, and bytes that nobody takes any
more are waited for.
"""

import asyncio
import logging

from nats.aio.client import Client
from nats.errors import Error, UnexpectedEOF

_PAUSE_S = 0.1
log = logging.getLogger("dominie")


class Returning(Client):
    """Begins each connection with nothing of the last one."""

    async def _select_next_server(self) -> None:
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        self._drop()
        self._ps.reset()
        await super()._select_next_server()

    async def _read_loop(self) -> None:
        await super()._read_loop()
        mine = asyncio.current_task() is self._reading_task
        if mine and not (self.is_closed or self.is_reconnecting):
            await self._process_op_err(UnexpectedEOF())

    async def _attempt_reconnect(self) -> None:
        self._drop()
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
                return
            except Exception as error:
                log.warning("connecting anew failed, and is tried again", exc_info=error)
                await self._error_cb(error if isinstance(error, Error) else Error(repr(error)))
                self._status = Client.RECONNECTING
                await asyncio.sleep(_PAUSE_S)

    def _drop(self) -> None:
        """End the connection at once: closed in order, it would wait until the other side has read everything."""
        writer = getattr(self._transport, "_io_writer", None)  # TLS or not; a WebSocket has none
        if writer is not None:
            writer.transport.abort()
