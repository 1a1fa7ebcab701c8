"""`dominie bench flood`: an agent sends as fast as it can, and another tenant works on."""

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

import dominie
from dominie.keys import KeyPair
from dominie_bench.children import child
from dominie_bench.measure import percentile
from dominie_contracts import Grants
from dominie_contracts.identity import REFUSALS, PrincipalView, Refused, Register
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_eventstore import JetStreamEventStore
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.system import System
from dominie_kit.testing import Peer, connected

SIZES = (200, 250_000)
SERVICES = ("identity", "guardrail", "tool")
TENANT, USER = "bench", "u-bench"
EVERY_S = 0.02
"""How often the other tenant calls, whether its last calls are answered or not."""
_CUT = re.compile(r"Slow Consumer")


def run(seconds: float, say: Callable[[str], None]) -> dict[str, object]:
    """A flood of each size in a house of its own; the calm before each is the floor."""
    return {"sizes": [_run(size, seconds, say) for size in SIZES]}


def _run(size: int, seconds: float, say: Callable[[str], None]) -> dict[str, object]:
    with TemporaryDirectory(prefix="dominie-bench-") as folder:
        project = Path(folder) / "project"
        project.mkdir()
        worker = child(sys.executable, "-m", "dominie_bench.worker", cwd=project)
        with System(project, services=SERVICES, keys=Path(folder) / "keys") as system, worker:
            return uvloop.run(_measure(system, size, seconds, say))


@dataclass(slots=True)
class _Calls:
    """How the other tenant's calls went, each measured from when it was due."""

    failed: int = 0
    took_ms: list[float] = field(default_factory=list)
    why: set[str] = field(default_factory=set)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile."""
        return percentile(sorted(self.took_ms), 0.99)


async def _measure(system: System, size: int, seconds: float, say: Callable[[str], None]) -> dict[str, object]:
    os.chdir(system.plan.folder)
    pids = {name: system.pid_of(name) for name in SERVICES}
    async with dominie.AsyncClient("other") as client, client.run(user="dev") as run:
        await _until_served(run)
        await _call(run, min(2.0, seconds))
        say(f"{size} bytes: calm")
        calm = await _call(run, seconds)
        say(f"{size} bytes: flood")
        flooding = asyncio.create_task(_flood(system, size, seconds))
        flooded = await _call(run, seconds)
        sent = await flooding
    cut = [name for name, pid in pids.items() if system.pid_of(name) != pid]
    cut += _CUT.findall(system.state.path.joinpath("log", "nats.log").read_text(errors="replace"))
    ratio = flooded.p99_ms / calm.p99_ms
    say(
        f"{size} bytes: {sent} sent, p99 {calm.p99_ms:.1f} ms calm, {flooded.p99_ms:.1f} ms flooded, "
        f"longest {max(flooded.took_ms, default=0):.0f} ms {' '.join(sorted(flooded.why))}"
    )
    return {
        "bytes": size,
        "other_failed": calm.failed + flooded.failed,
        "other_p99_ratio": round(ratio, 2),
        "services_cut": len(cut),
        "refusal_events": await _refusals(system),
    }


async def _until_served(run: dominie.AsyncRun) -> None:
    async with asyncio.timeout(30):
        while True:
            try:
                await run.invoke("balance", {"account": "-"})
                return
            except (dominie.Unavailable, dominie.Invalid, dominie.Forbidden):
                await asyncio.sleep(0.1)


async def _call(run: dominie.AsyncRun, seconds: float) -> _Calls:
    """Call at even times for so long."""
    found = _Calls()

    async def call(due_s: float) -> None:
        try:
            await run.invoke("balance", {"account": "DE89 3704"})
        except dominie.Problem as problem:
            found.failed += 1
            found.why.add(problem.type)
        found.took_ms.append((time.perf_counter() - due_s) * 1000)

    async with asyncio.TaskGroup() as group:
        begun = time.perf_counter()
        for number in range(int(seconds / EVERY_S)):
            due_s = begun + number * EVERY_S
            await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
            group.create_task(call(due_s))
    return found


async def _flood(system: System, size: int, seconds: float) -> int:
    """Register an agent of another tenant, and let it go; how many messages it got rid of."""
    operator = await connect_operator(system.nats_url, system.keys)
    try:
        keys = KeyPair.generate()
        grants = Grants(tools=("balance",))
        command = Register(principal="a-flood", nkey=keys.public, tenant=TENANT, users=(USER,), grants=grants)
        await Peer(operator).ask(command, PrincipalView)
    finally:
        await operator.close()
    async with connected(system.nats_url, keys, TENANT, "a-flood") as peer:
        token = (await peer.ask(MintRunToken(user=USER, run="r-flood"), RunToken)).token
    given = (system.nats_url, keys.seed, TENANT, "a-flood", str(size), str(seconds), token)
    flooder = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "dominie_bench.flooder", *given, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await flooder.communicate()
    return int(json.loads(said)["sent"])


async def _refusals(system: System) -> int:
    """How many events say that something was refused."""
    operator = await connect_operator(system.nats_url, system.keys)
    try:
        events = [event async for event in JetStreamEventStore(operator).read_all(category=REFUSALS)]
    finally:
        await operator.close()
    return sum(isinstance(parse_event(event.type, event.envelope.data), Refused) for event in events)
