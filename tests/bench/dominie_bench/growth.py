"""`dominie bench growth`: many actions, in segments that are archived as it goes; what the broker takes in the end.

An action is two appends to a stream of its own, three events in all: what was asked and its start in one, the outcome
in the other. They are written through the event store, on a service's connection, while `dominie up` rolls the log and
audit, without its index, signs and archives it.
"""

import asyncio
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import uvloop

from dominie_bench.event_log import event
from dominie_bench.measure import percentile
from dominie_contracts.subjects import StreamName
from dominie_eventstore import EventStore, JetStreamEventStore
from dominie_eventstore.archive import Archive
from dominie_kit.bus import Inner
from dominie_kit.house.plan import BROKER
from dominie_kit.house.segments import keeping
from dominie_kit.house.system import System
from dominie_kit.settings import KitSettings
from dominie_kit.store import open_archive

SEGMENTS = 10
_ARCHIVIST = "dominie_audit.adapters.archive.alone"
_IN_FLIGHT = 256
_EVENTS = (2, 1)
"""Of each append of an action."""
_READS = 500
_ARCHIVE_S = 7200.0
_RESTART_S = 60.0


def run(actions: int, say: Callable[[str], None]) -> dict[str, object]:
    """Write, wait until all that is sealed is archived, restart the broker, read old actions."""
    with tempfile.TemporaryDirectory(prefix="dominie-bench-") as folder:
        project = Path(folder) / "project"
        project.mkdir()
        limits = {"DOMINIE_SEGMENT_APPENDS": str(max(1, len(_EVENTS) * actions // SEGMENTS))}
        keys, runner = Path(folder) / "keys", f"{_ARCHIVIST}:main"
        with System(project, services=("audit",), keys=keys, environment=limits, runner=runner) as system:
            return uvloop.run(_measure(system, actions, say))


async def _measure(system: System, actions: int, say: Callable[[str], None]) -> dict[str, object]:
    say(f"writing {actions} actions")
    begun = time.perf_counter()
    async with _store(system) as store:
        await _write(store, actions, say)
    say(f"written in {time.perf_counter() - begun:.0f} s; archiving the rest")
    async with keeping(system.nats_url, system.keys) as keeper:
        await keeper.roll(None)
        await keeper.archive_all(lambda segments: None, _ARCHIVE_S)
        segments = len((await keeper.view()).segments)
    say(f"archived after {time.perf_counter() - begun:.0f} s in all")
    rss_mb = psutil.Process(system.pid_of(BROKER)).memory_info().rss / 2**20
    restart_s = await _restart(system)
    say("reading old actions")
    async with _store(system) as store:
        read_ms = await _read(store, actions)
    return {
        "actions": actions,
        "segments": segments,
        "broker_rss_mb": round(rss_mb, 1),
        "restart_s": round(restart_s, 2),
        "read_old_p50_ms": round(percentile(sorted(read_ms), 0.5), 2),
    }


@asynccontextmanager
async def _store(system: System) -> AsyncIterator[EventStore]:
    """The log, as the tool service has it."""
    settings = KitSettings(nats_url=system.nats_url, keys=system.keys.path, state=system.state.path)
    inner = Inner("tool", settings)
    await inner.open()
    try:
        yield JetStreamEventStore(inner.client, archive=Archive(open_archive(settings)), timeout_s=30)
    finally:
        await inner.close()


def _stream(number: int) -> StreamName:
    return StreamName("acme", "tool", f"action-{number}")


async def _write(store: EventStore, actions: int, say: Callable[[str], None]) -> None:
    numbers = iter(range(actions))
    tenth = max(1, actions // 10)

    async def writer() -> None:
        for number in numbers:
            version = 0
            for count in _EVENTS:
                drafts = [event() for _ in range(count)]
                version = (await store.append(_stream(number), drafts, expected_version=version)).version
            if (number + 1) % tenth == 0:
                say(f"{number + 1} actions")

    async with asyncio.TaskGroup() as group:
        for _ in range(_IN_FLIGHT):
            group.create_task(writer())


async def _restart(system: System) -> float:
    """How long the broker is away when it is killed: until an append is acknowledged."""
    begun = time.perf_counter()
    await asyncio.to_thread(_killed, system)
    async with _store(system) as store:
        await store.append(_stream(-1), [event()], expected_version=0, timeout_s=_RESTART_S)
    return time.perf_counter() - begun


def _killed(system: System) -> None:
    before = system.kill(BROKER)
    system.wait_for_restart(BROKER, after=before, timeout_s=_RESTART_S)


async def _read(store: EventStore, actions: int) -> list[float]:
    """How long the reads of random actions take, each of which must be whole."""
    durations_ms = []
    for _ in range(min(_READS, actions)):
        name = _stream(random.randrange(actions))
        begun = time.perf_counter()
        events = await store.read(name)
        durations_ms.append((time.perf_counter() - begun) * 1000)
        assert [found.envelope.version for found in events] == list(range(1, sum(_EVENTS) + 1)), name
    return durations_ms
