"""`dominie bench append --stale`: what appends that come too late cost the others on their way."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import uvloop

from dominie_bench.event_log import EventLog, event, event_log, new_stream
from dominie_contracts.subjects import StreamName
from dominie_eventstore import EventStore, EventStoreError, WrongExpectedVersion

IN_FLIGHT = 256
ROUNDS = 5
"""Of each kind, in turns: the machine's speed drifts."""


@dataclass(slots=True)
class _Count:
    """What became of appends, and how long they took together."""

    stored: int = 0
    failed_stale: int = 0
    failed_good: int = 0
    took_s: float = 0.0

    @property
    def rate_per_s(self) -> float:
        """How many were stored in a second."""
        return round(self.stored / self.took_s, 1)


def run(appends: int, share: float, say: Callable[[str], None]) -> dict[str, object]:
    """Append, with a share of stale versions and without; the rates are of appends that were stored."""
    with event_log() as log:
        return uvloop.run(_measure(log, appends, share, say))


async def _measure(log: EventLog, appends: int, share: float, say: Callable[[str], None]) -> dict[str, object]:
    await log.provision()
    clean, mixed, places = _Count(), _Count(), Random(0)
    async with log.store() as store, log.store() as other:
        for number in range(ROUNDS):
            say(f"round {number + 1} of {ROUNDS}")
            await _append(store, [new_stream() for _ in range(appends)], set(), clean)
            streams = [new_stream() for _ in range(appends)]
            late = set(places.sample(streams, round(appends * share)))
            await _append(other, list(late), set(), _Count())
            await _append(store, streams, late, mixed)
    return {
        "failed_stale": mixed.failed_stale,
        "failed_good": mixed.failed_good + clean.failed_good,
        "rate_per_s": mixed.rate_per_s,
        "clean_rate_per_s": clean.rate_per_s,
    }


async def _append(store: EventStore, streams: list[StreamName], late: set[StreamName], count: _Count) -> None:
    """Append to each stream as if it were new, which those of `late` are not."""
    left = iter(streams)

    async def client() -> None:
        for stream in left:
            try:
                await store.append(stream, [event()], expected_version=0)
                count.stored += 1
            except WrongExpectedVersion:
                if stream in late:
                    count.failed_stale += 1
                else:
                    count.failed_good += 1
            except EventStoreError:
                count.failed_good += 1

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(IN_FLIGHT):
            group.create_task(client())
    count.took_s += time.perf_counter() - begun
