"""`dominie bench governed-call`: agent process → NATS → tool service → worker → event, fsynced → reply."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import uvloop

import dominie
from dominie_bench.children import child
from dominie_bench.floor import measure_floor, plain_server
from dominie_bench.measure import Level, measure
from dominie_kit.house.system import System

LEVELS = (1, 32, 256)
SERVICES = ("identity", "guardrail", "tool")


def run(calls: int, say: Callable[[str], None]) -> dict[str, object]:
    """Measure both; the ratio is of the medians with one call in flight."""
    with tempfile.TemporaryDirectory(prefix="dominie-bench-") as folder:
        with plain_server(Path(folder) / "plain") as url:
            say("floor: request/reply and one fsynced publish, plain nats-py")
            floor = measure_floor(url, calls)
        project = Path(folder) / "project"
        project.mkdir()
        worker = child(sys.executable, "-m", "dominie_bench.worker", cwd=project)
        with System(project, services=SERVICES, keys=Path(folder) / "keys"), worker:
            governed = uvloop.run(_measure_governed(project, calls, say))
    return {
        "floor": {"p50_ms": floor["p50_ms"], "p99_ms": floor["p99_ms"]},
        "governed": governed,
        "ratio_p50": round(governed[0]["p50_ms"] / floor["p50_ms"], 2),
    }


async def _measure_governed(project: Path, calls: int, say: Callable[[str], None]) -> list[Level]:
    os.chdir(project)
    async with dominie.AsyncClient("bench") as client, client.run(user="dev") as run:
        await _until_served(run)
        found: list[Level] = []
        for in_flight in LEVELS:
            say(f"governed: {in_flight} in flight")

            async def call() -> None:
                await run.invoke("balance", {"account": "DE89 3704"})

            found.append(await measure(call, calls=calls if in_flight == 1 else calls * 2, in_flight=in_flight))
        return found


async def _until_served(run: dominie.AsyncRun) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await run.invoke("balance", {"account": "-"})
                return
            except (dominie.Unavailable, dominie.Invalid, dominie.Forbidden):
                await asyncio.sleep(0.1)
