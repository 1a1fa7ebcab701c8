"""Measuring a call at a number in flight."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypedDict


class Level(TypedDict):
    """How calls went with so many in flight."""

    in_flight: int
    p50_ms: float
    p99_ms: float
    rate_per_s: float


def percentile(sorted_values: list[float], share: float) -> float:
    """The value below which this share of them lies."""
    return sorted_values[min(len(sorted_values) - 1, int(len(sorted_values) * share))]


async def measure(call: Callable[[], Awaitable[object]], *, calls: int, in_flight: int, warm: int = 50) -> Level:
    """Make `calls` calls, `in_flight` at a time, after some that do not count."""
    for _ in range(warm):
        await call()
    durations_ms: list[float] = []
    numbers = iter(range(calls))

    async def client() -> None:
        for _ in numbers:
            begun = time.perf_counter()
            await call()
            durations_ms.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(in_flight):
            group.create_task(client())
    took_s = time.perf_counter() - begun
    durations_ms.sort()
    return Level(
        in_flight=in_flight,
        p50_ms=round(percentile(durations_ms, 0.5), 3),
        p99_ms=round(percentile(durations_ms, 0.99), 3),
        rate_per_s=round(calls / took_s, 1),
    )
