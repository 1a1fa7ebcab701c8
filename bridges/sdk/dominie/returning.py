"""nats-py's client, which comes back however its connection ended.

nats-py 2.16 stays away for good, or for ten seconds at a time, where a broker ends while the client is connecting anew:
what the last connection left half read spoils each one after it, its reader takes the next one's bytes, an error that
is neither the network's nor NATS's ends the reading or the reconnecting without a word, two tasks reconnect at once and
end each other's connections, and bytes that nobody takes any more are waited for. Its PING overtakes what is still to
be written, so that a flush would say nothing of that; a PONG that nobody waits for any more ends its reading; and a
flush waits in vain for the PONG of a connection that ended. Whoever publishes in the moment before the end is read
meets the error of the transport, and so does the closing, which then tells nobody.
"""

import asyncio
import logging
from typing import Any

from nats.aio.client import Client
from nats.errors import Error, UnexpectedEOF
from nats.protocol.parser import PERMISSIONS_ERR, STALE_CONNECTION

_PAUSE_S = 0.1
_CLOSE_S = 2.0
"""How long the other side may take to read what was written, once the client is closed."""
_ENDED = (OSError, RuntimeError)
"""What a transport raises that has ended; the latter is uvloop's."""
log = logging.getLogger("dominie")


class Returning(Client):
    """Begins each connection with nothing of the last one, one task at a time."""

    async def close(self) -> None:
        """Close for good, whoever is connecting anew."""
        task = self._reconnection_task
        while task is not None and not task.done() and task is not asyncio.current_task():
            task.cancel()  # again: nats-py may lose a cancellation
            await asyncio.wait({task}, timeout=_PAUSE_S)
        alarm = asyncio.get_running_loop().call_later(_CLOSE_S, self._drop)
        try:
            await super().close()
        except asyncio.CancelledError:  # of a task that waited for the connection's end before, perhaps
            this = asyncio.current_task()
            if this is None or this.cancelling():
                raise
        finally:
            alarm.cancel()

    async def _close(self, status: int, do_cbs: bool = True) -> None:
        """Close, and say so, also where nothing can be written any more."""
        try:
            await super()._close(status, do_cbs)
        except _ENDED:
            self._pending, self._pending_data_size = [], 0
            self._status = Client.DISCONNECTED
            await super()._close(status, do_cbs)

    async def _flush_pending(self, force_flush: bool = False) -> Any:
        """That the connection has ended is for whoever reads it: what is published at that moment is lost with it."""
        try:
            return await super()._flush_pending(force_flush)
        except _ENDED:
            self._pending, self._pending_data_size = [], 0
            return None

    async def _send_ping(self, future: asyncio.Future[bool] | None = None) -> None:
        """Write it after all that is still to be written."""
        try:
            if self._pending and self._transport is not None:
                self._transport.writelines(self._pending)
                self._pending, self._pending_data_size = [], 0
            await super()._send_ping(future)
        except _ENDED:
            self._fail_pongs()

    async def _process_pong(self) -> None:
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _select_next_server(self) -> None:
        this = asyncio.current_task()
        if this is not None and this is self._reconnection_task and this.cancelling():
            raise asyncio.CancelledError  # again: nats-py may lose one
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

    async def _process_err(self, err_msg: str) -> None:
        """What the broker said before it ended the connection is no reason to stay away."""
        lasting = self.options["allow_reconnect"] and not self.is_closed
        if not lasting or any(known in err_msg.lower() for known in (STALE_CONNECTION, PERMISSIONS_ERR)):
            await super()._process_err(err_msg)
            return
        error = Error(f"nats: {err_msg.strip(chr(39))}")
        await self._error_cb(error)
        await self._process_op_err(error)

    async def _process_op_err(self, e: Exception) -> None:
        """One task connects anew: it goes on where a connection ended that it was still making."""
        task = self._reconnection_task
        if task is None or task.done() or not (self.is_connected or self.is_connecting):
            await super()._process_op_err(e)
            return
        self._status = Client.RECONNECTING
        self._drop()

    async def _attempt_reconnect(self) -> None:
        self._drop()
        this = asyncio.current_task()
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
                if self._is_settled() or (this is not None and this.cancelling()):
                    return
            except Exception as error:
                log.warning("connecting anew failed, and is tried again", exc_info=error)
                await self._error_cb(error if isinstance(error, Error) else Error(repr(error)))
            self._status = Client.RECONNECTING
            await asyncio.sleep(_PAUSE_S)

    def _is_settled(self) -> bool:
        """Closed for good, or connected and read."""
        reading = self._reading_task is not None and not self._reading_task.done()
        return self.is_closed or (self.is_connected and reading)

    def _drop(self) -> None:
        """End the connection at once: closed in order, it would wait until the other side has read everything."""
        writer = getattr(self._transport, "_io_writer", None)  # TLS or not; a WebSocket has none
        if writer is not None:
            writer.transport.abort()
        self._fail_pongs()

    def _fail_pongs(self) -> None:
        for pong in self._pongs:
            if not pong.done():
                pong.set_exception(UnexpectedEOF())
                pong.exception()  # whoever waits for it is told; nobody else need be
