"""Which services there are, by their heartbeats, and how far each is with forgetting."""

import time
from collections.abc import Callable

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg

from dominie_contracts.heard import AtOnce
from dominie_contracts.operations import ServiceStatus

_ALIVE_S = 5.0


class Heartbeats:
    """The last heartbeat of each instance."""

    def __init__(self) -> None:
        self._heard: dict[str, tuple[float, ServiceStatus]] = {}
        self._changed = anyio.Event()

    async def listen(self, client: Client) -> None:
        """Hear them, for ever."""
        heard = AtOnce[Msg](self._hear)
        await client.subscribe("hb.*", future=heard)  # type: ignore[arg-type]  # stands for one
        await anyio.sleep_forever()

    async def forgotten(
        self, position: int, expected: frozenset[str], timeout_s: float
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The services that have built everything anew after an erasure, and those that had not in time.

        `expected` have to be heard, whether they ever were or not. One that is silent is late: it builds when it is
        back. Nobody waits for it longer than for a heartbeat.
        """
        with anyio.move_on_after(timeout_s):
            with anyio.move_on_after(_ALIVE_S):
                await self._until(lambda: expected <= {status.service for status in self._alive})
            await self._until(lambda: not self._behind(position))
        late = self.late(position, expected)
        return tuple(sorted({status.service for status in self._alive} - set(late))), late

    def late(self, position: int, expected: frozenset[str]) -> tuple[str, ...]:
        """The services that have not built everything anew, or are silent."""
        alive = {status.service for status in self._alive} - self._behind(position)
        known = {status.service for _, status in self._heard.values()}
        return tuple(sorted((known | expected) - alive))

    async def _until(self, done: Callable[[], bool]) -> None:
        while not done():
            await self._changed.wait()

    @property
    def _alive(self) -> list[ServiceStatus]:
        since = time.monotonic() - _ALIVE_S
        return [status for at, status in self._heard.values() if at > since]

    def _behind(self, position: int) -> set[str]:
        return {status.service for status in self._alive if status.forgotten < position}

    def _hear(self, message: Msg) -> None:
        status = ServiceStatus.model_validate_json(message.data)
        self._heard[status.instance] = time.monotonic(), status
        self._changed.set()
        self._changed = anyio.Event()
