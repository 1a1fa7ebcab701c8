"""Which services there are, by their heartbeats, and how far each is with forgetting."""

import time

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

    async def forgotten(self, position: int, timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The services that have built everything anew after an erasure, and those that had not in time."""
        with anyio.move_on_after(timeout_s):
            while not self._heard or self._late(position):
                await self._changed.wait()
        late = self._late(position)
        return tuple(sorted(self._alive - late)), tuple(sorted(late))

    @property
    def _alive(self) -> set[str]:
        since = time.monotonic() - _ALIVE_S
        return {status.service for at, status in self._heard.values() if at > since}

    def _late(self, position: int) -> set[str]:
        since = time.monotonic() - _ALIVE_S
        return {status.service for at, status in self._heard.values() if at > since and status.forgotten < position}

    def _hear(self, message: Msg) -> None:
        status = ServiceStatus.model_validate_json(message.data)
        self._heard[status.instance] = time.monotonic(), status
        self._changed.set()
        self._changed = anyio.Event()
