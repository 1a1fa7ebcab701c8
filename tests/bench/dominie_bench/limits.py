"""`dominie bench limits`: shares of one limit, reserved with guardrail through the bus, alone and many at once."""

import uuid
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from dominie.keys import KeyPair
from dominie_bench.measure import Level, measure
from dominie_contracts.guardrail import LIMIT, Reservation, Reserve, Share, SharesReserved
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.registry import parse_event
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.tool import TOOL
from dominie_eventstore import JetStreamEventStore
from dominie_kit.bus import Inner
from dominie_kit.context import Context, deadline_in
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.system import System
from dominie_kit.settings import KitSettings
from dominie_kit.testing import Peer, connected

SERVICES = ("identity", "guardrail")
TENANT, USER, AGENT = "bench", "u-bench", "a-bench"
AT_ONCE = 256
WARM = 300
"""An edge lets a principal have more under way the more it has answered to it."""
_WAIT_S = 30.0
_MOST = 2**53 - 1


def run(calls: int, say: Callable[[str], None]) -> dict[str, object]:
    """One tenant, one limit: a share at a time, then 256 at once."""
    with TemporaryDirectory(prefix="dominie-bench-") as folder:
        project = Path(folder) / "project"
        project.mkdir()
        with System(project, services=SERVICES, keys=Path(folder) / "keys") as system:
            return uvloop.run(_measure(system, calls, say))


async def _measure(system: System, calls: int, say: Callable[[str], None]) -> dict[str, object]:
    token = await _token(system)
    inner = Inner("tool", KitSettings(nats_url=system.nats_url, keys=system.plan.keys))
    await inner.open()
    try:

        async def reserve() -> None:
            share = Share(policy="bench", scope="tenant", within="month", amount=1, most=_MOST)
            command = Reserve(action=uuid.uuid4().hex, category=TOOL, shares=(share,))
            context = Context(
                tenant=TENANT, principal=AGENT, key=command.action, deadline=deadline_in(_WAIT_S), token=token
            )
            found = await inner.call(context, command, Reservation, key=command.action)
            assert found.granted, found

        say(f"a share at a time: {calls}")
        alone: Level = await measure(reserve, calls=calls, in_flight=1, warm=WARM)
        say(f"{AT_ONCE} at once: {calls * 8}")
        many: Level = await measure(reserve, calls=calls * 8, in_flight=AT_ONCE)
    finally:
        await inner.close()
    return {
        "p50_ms": alone["p50_ms"],
        "p99_ms": alone["p99_ms"],
        "in_flight": AT_ONCE,
        "in_flight_p50_ms": many["p50_ms"],
        "rate_per_s": many["rate_per_s"],
        "shares_per_append": round((WARM + 50 + calls * 9) / await _pages(system), 1),
    }


async def _token(system: System) -> str:
    keys = KeyPair.generate()
    operator = await connect_operator(system.nats_url, system.keys)
    try:
        command = Register(principal=AGENT, nkey=keys.public, tenant=TENANT, users=(USER,))
        await Peer(operator).ask(command, PrincipalView)
    finally:
        await operator.close()
    async with connected(system.nats_url, keys, TENANT, AGENT) as peer:
        return (await peer.ask(MintRunToken(user=USER, run="r-bench"), RunToken)).token


async def _pages(system: System) -> int:
    """How many appends took shares, as audit reads them: the operator may not read as much."""
    audit = Inner("audit", KitSettings(nats_url=system.nats_url, keys=system.plan.keys))
    await audit.open()
    try:
        events = [event async for event in JetStreamEventStore(audit.client).read_all(category=LIMIT)]
    finally:
        await audit.close()
    return sum(isinstance(parse_event(event.type, event.envelope.data), SharesReserved) for event in events)
