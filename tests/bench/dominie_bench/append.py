"""`dominie bench append`: fsynced appends, each of one event to its own new stream."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop

from dominie_bench.event_log import EventLog, event, event_log, new_stream
from dominie_bench.floor import measure_publish, plain_server
from dominie_bench.measure import Level, measure

LEVELS = (1, 32, 256, 1024)


def run(appends: int, say: Callable[[str], None]) -> dict[str, object]:
    """Measure one plain fsynced publish at a time, then appends at each number in flight."""
    with tempfile.TemporaryDirectory(prefix="dominie-bench-") as folder, plain_server(Path(folder) / "plain") as url:
        say("floor: one fsynced publish, plain nats-py")
        floor = uvloop.run(measure_publish(url, appends))
    with event_log() as log:
        return {"floor": {"p50_ms": floor["p50_ms"]}, **uvloop.run(_measure(log, appends, say))}


async def _measure(log: EventLog, appends: int, say: Callable[[str], None]) -> dict[str, object]:
    await log.provision()
    acknowledged = 0
    levels: list[Level] = []
    async with log.store() as store:

        async def append() -> None:
            nonlocal acknowledged
            await store.append(new_stream(), [event()], expected_version=0)
            acknowledged += 1

        for in_flight in LEVELS:
            say(f"append: {in_flight} in flight")
            calls = appends if in_flight == 1 else appends * 8
            levels.append(await measure(append, calls=calls, in_flight=in_flight))
    say("counting what is stored")
    return {"append": levels, "acknowledged": acknowledged, "stored": await log.stored()}
