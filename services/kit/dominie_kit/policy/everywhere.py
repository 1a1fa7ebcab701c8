"""Whether every decision point has read a policy set, by their heartbeats."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
from nats.aio.client import Client
from nats.aio.msg import Msg

from dominie_contracts.operations import ServiceStatus
from dominie_contracts.rights import FOLLOWS

_EACH_S = 1.5
"""Whoever lives has said so in this time."""


class Everywhere:
    """What each instance last said of itself."""

    def __init__(self) -> None:
        self._heard: dict[str, ServiceStatus] = {}
        self._changed = anyio.Event()

    async def reached(self, position: int, timeout_s: float) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The instances that have read so far, and those that had not in time.

        One that is not heard at all decides nothing for long: its policies are stale.
        """
        began_s = time.monotonic()
        with anyio.move_on_after(timeout_s):
            await anyio.sleep(max(0.0, began_s + _EACH_S - time.monotonic()))
            while self._late(position):
                await self._changed.wait()
        late = self._late(position)
        return tuple(sorted(self._heard.keys() - late)), tuple(sorted(late))

    def hear(self, status: ServiceStatus) -> None:
        """Take in a heartbeat; who does not follow the policies decides nothing."""
        if "policy" not in FOLLOWS.get(status.service, ("policy",)):
            return
        self._heard[status.instance] = status
        self._changed.set()
        self._changed = anyio.Event()

    def _late(self, position: int) -> set[str]:
        return {name for name, status in self._heard.items() if status.policy_position < position}


@asynccontextmanager
async def listening(client: Client) -> AsyncIterator[Everywhere]:
    """Hear every service from now on."""
    found = Everywhere()

    async def hear(message: Msg) -> None:
        found.hear(ServiceStatus.model_validate_json(message.data))

    subscription = await client.subscribe("hb.*", cb=hear)
    await client.flush()
    try:
        yield found
    finally:
        await subscription.unsubscribe()
