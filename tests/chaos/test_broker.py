"""The broker is killed again and again while writers write: what they were told is stored, once, in whole chains."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client

from dominie_eventstore import JetStreamEventStore, provision
from dominie_eventstore.testing import Broker

if TYPE_CHECKING:
    from tests.chaos.conftest import Told, Writers

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(170)]
WRITERS = 64
"""Enough that they go out in batches."""


async def test_killed_again_and_again(
    broker: Broker,
    connect: Callable[..., Awaitable[Client]],
    told: "Told",
    writers: "type[Writers]",
    chance: random.Random,
    broker_rounds: int,
) -> None:
    client = await connect(broker.url)
    await provision(client)
    store = JetStreamEventStore(client)
    load = writers(store, told, WRITERS)

    async with load.writing():
        for _ in range(broker_rounds):
            await load.more(chance.randint(1, 4 * WRITERS))
            await asyncio.to_thread(broker.kill)
            await asyncio.to_thread(broker.start)
            await told.check_new(store)

    await told.check(store)
