"""`dominie bench connect`: through the auth callout beside a static key, and how soon who is revoked is out."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import nats.errors
import uvloop

from dominie.keys import KeyPair
from dominie_bench.measure import percentile
from dominie_contracts import Message, Problem
from dominie_contracts.identity import Done, PrincipalView, Register, Revoke
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.tool import ListTools, Tools
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.system import System
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.testing import Peer, connected

SERVICES = ("identity", "guardrail", "tool")
TENANT, USER = "bench", "u-bench"
REVOCATIONS = 20
BEFORE_S, FIRST_S, AFTER_S = 0.05, 10.0, 0.3
"""How long an agent asks before its identity is taken away, how long its first answer may take, and how long it goes on
trying after that."""
_PAUSE_S = 0.003


def run(connects: int, say: Callable[[str], None]) -> dict[str, object]:
    """Connect both ways in turns, then take identities away from agents that ask on and on."""
    with TemporaryDirectory(prefix="dominie-bench-") as folder:
        project = Path(folder) / "project"
        project.mkdir()
        with System(project, services=SERVICES, keys=Path(folder) / "keys") as system:
            return uvloop.run(_measure(system.nats_url, system.keys, connects, say))


async def _measure(url: str, keys: KeyFolder, connects: int, say: Callable[[str], None]) -> dict[str, object]:
    async with _operator(url, keys) as operator:
        agent = await _register(operator, "a-bench")
        say(f"connect: {connects} times with a static key, and through the callout")
        static, callout = [await _static_ms(url, keys)], [await _callout_ms(url, agent)]
        for _ in range(connects):
            static.append(await _static_ms(url, keys))
            callout.append(await _callout_ms(url, agent))
        say(f"revoke: {REVOCATIONS} agents while they ask identity and tool")
        revoked = [await _revoke(url, operator, f"a-gone-{number}") for number in range(REVOCATIONS)]
    static_ms, callout_ms = _median(static[1:]), _median(callout[1:])
    return {
        "static_p50_ms": round(static_ms, 3),
        "callout_p50_ms": round(callout_ms, 3),
        "ratio": round(callout_ms / static_ms, 2),
        "kick_p50_ms": round(_median([one.kick_ms for one in revoked]), 3),
        "revoked_accept_ms": round(max(one.accept_ms for one in revoked), 3),
    }


@asynccontextmanager
async def _operator(url: str, keys: KeyFolder) -> AsyncIterator[Peer]:
    client = await connect_operator(url, keys)
    try:
        yield Peer(client)
    finally:
        await client.close()


async def _register(operator: Peer, principal: str) -> KeyPair:
    keys = KeyPair.generate()
    command = Register(principal=principal, nkey=keys.public, tenant=TENANT, users=(USER,))
    await operator.ask(command, PrincipalView)
    return keys


async def _static_ms(url: str, keys: KeyFolder) -> float:
    begun = time.perf_counter()
    client = await connect_operator(url, keys)
    took = time.perf_counter() - begun
    await client.close()
    return took * 1000


async def _callout_ms(url: str, keys: KeyPair) -> float:
    begun = time.perf_counter()
    async with connected(url, keys, TENANT, "a-bench"):
        return (time.perf_counter() - begun) * 1000


@dataclass(slots=True)
class _Revocation:
    """One agent that asks on and on: when it last asked something that a service then did, and when it was out."""

    peer: Peer
    token: str
    accepted_s: float = 0.0
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    asking: set[asyncio.Task[None]] = field(default_factory=set)
    kick_ms: float = 0.0
    accept_ms: float = 0.0

    async def ask_on(self) -> None:
        """Ask both services again and again, whether they still answer or not."""
        while True:
            mint = MintRunToken(user=USER, run=uuid.uuid4().hex)
            for command, reply in ((mint, RunToken), (ListTools(), Tools)):
                task = asyncio.create_task(self._ask(command, reply))
                self.asking.add(task)
                task.add_done_callback(self.asking.discard)
            await asyncio.sleep(_PAUSE_S)

    async def _ask(self, command: MintRunToken | ListTools, reply: type[Message]) -> None:
        asked_s = time.perf_counter()
        try:
            await self.peer.ask(command, reply, token=self.token, timeout_s=AFTER_S)
        except (Problem, nats.errors.Error, TimeoutError, OSError):
            return
        self.accepted_s = max(self.accepted_s, asked_s)
        self.heard.set()


async def _revoke(url: str, operator: Peer, principal: str) -> _Revocation:
    keys = await _register(operator, principal)
    async with connected(url, keys, TENANT, principal) as peer:
        minted = await peer.ask(MintRunToken(user=USER, run=principal), RunToken)
        found = _Revocation(peer, minted.token)
        asking = asyncio.create_task(found.ask_on())
        async with asyncio.timeout(FIRST_S):
            await found.heard.wait()
        await asyncio.sleep(BEFORE_S)
        begun = time.perf_counter()
        await operator.ask(Revoke(principal=principal, tenant=TENANT), Done)
        revoked_s = time.perf_counter()
        async with asyncio.timeout(AFTER_S * 10):
            await peer.ended.wait()
        found.kick_ms = (time.perf_counter() - begun) * 1000
        await asyncio.sleep(AFTER_S)
        asking.cancel()
        await asyncio.gather(asking, *found.asking, return_exceptions=True)
    found.accept_ms = max(0.0, found.accepted_s - revoked_s) * 1000
    return found


def _median(values: list[float]) -> float:
    return percentile(sorted(values), 0.5)
