"""`dominie bench replay`: a whole log read, each event decoded, each chain checked."""

import asyncio
import time
from collections.abc import Callable

import uvloop

from dominie_bench.event_log import EventLog, event, event_log, new_stream
from dominie_eventstore import verify_chain

_WRITERS = 32


def run(events: int, per_append: int, say: Callable[[str], None]) -> dict[str, object]:
    """Fill a log, then read and check it."""
    with event_log() as log:
        return uvloop.run(_measure(log, events, per_append, say))


async def _measure(log: EventLog, events: int, per_append: int, say: Callable[[str], None]) -> dict[str, object]:
    await log.provision()
    say(f"filling the log with {events} events, {per_append} in an append")
    await _fill(log, events, per_append)
    say("reading it")
    async with log.store("audit") as store:
        begun = time.perf_counter()
        report = await verify_chain(store.read_all())
        took_s = time.perf_counter() - begun
    return {
        "events": report.events,
        "rate_per_s": round(report.events / took_s, 1),
        "verified": report.ok and report.events == events,
    }


async def _fill(log: EventLog, events: int, per_append: int) -> None:
    """Write events, each append to a stream of its own."""
    left = iter(range(0, events, per_append))
    async with log.store() as store:

        async def write() -> None:
            for first in left:
                drafts = [event() for _ in range(min(per_append, events - first))]
                await store.append(new_stream(), drafts, expected_version=0)

        async with asyncio.TaskGroup() as group:
            for _ in range(_WRITERS):
                group.create_task(write())
