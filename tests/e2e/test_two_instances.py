"""Two instances of the tool service: a command that lands on the other one meets the first one's record."""

import os
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import anyio
import pytest
from nats.aio.msg import Msg
from nats.errors import Error

import dominie
from dominie.keys import KeyPair
from dominie_contracts import Conflict, Grants, Unavailable
from dominie_contracts.audit import Entries, LogReport, Trail, VerifyLog
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.operations import ServiceStatus
from dominie_contracts.runs import MintRunToken, RunToken
from dominie_contracts.subjects import heartbeat_subject
from dominie_contracts.tool import InvokeTool, ToolResult
from dominie_kit.house.broker import connect_operator
from dominie_kit.house.system import System
from dominie_kit.testing import Peer, connected

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]
WAIT_S = 40.0
ATTEMPT_S = 1.0


class Ledger(Protocol):
    def payments(self, name: str) -> int: ...
    def calls(self, name: str) -> int: ...


@dataclass
class Twins:
    """Both instances' processes, by instance."""

    pids: dict[str, int]

    @contextmanager
    def without(self, instance: str) -> Iterator[None]:
        """One of them hears and says nothing for a while."""
        os.kill(self.pids[instance], signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pids[instance], signal.SIGCONT)

    def other(self, instance: str) -> str:
        """The one that this is not."""
        return next(name for name in self.pids if name != instance)


@pytest.fixture
async def twins(system: System, ledger: Ledger, dominie_command: str) -> AsyncIterator[Twins]:
    """The system's own instance, and one that joins it from outside."""
    where = ["--nats-url", system.nats_url, "--keys", str(system.keys.path), "--folder", str(system.plan.folder)]
    with (system.plan.folder / "second.log").open("ab") as log:
        second = await anyio.open_process([dominie_command, "serve", "tool", *where], stdout=log, stderr=log)
    try:
        with anyio.fail_after(WAIT_S):
            both = await _heard(system, {system.pid_of("tool"), second.pid})
        yield Twins(both)
    finally:
        if second.returncode is None:
            second.terminate()
        with anyio.fail_after(15):
            await second.wait()


async def _heard(system: System, pids: set[int]) -> dict[str, int]:
    """The instances of these processes, once each has said that it is ready."""
    found: dict[str, int] = {}
    both = anyio.Event()

    async def hear(message: Msg) -> None:
        status = ServiceStatus.model_validate_json(message.data)
        if status.ready and status.pid in pids:
            found[status.instance] = status.pid
        if len(found) == len(pids):
            both.set()

    client = await connect_operator(system.nats_url, system.keys)
    try:
        await client.subscribe(heartbeat_subject("tool"), cb=hear)
        await both.wait()
    finally:
        await client.close()
    return found


@dataclass
class Agent:
    """An agent on a raw connection, so that it is the test that tries again, and not the sdk."""

    peer: Peer
    developer: dominie.Client

    async def pay(self, order: str, key: str, *, tool: str = "pay", **more: float) -> str:
        """Call a tool, again and again until somebody answers."""
        minted = await self.peer.ask(MintRunToken(user="u-dev", run=f"run-{order}"), RunToken)
        command = InvokeTool(tool=tool, arguments={"to" if tool == "mail" else "order": order, **more})
        with anyio.fail_after(WAIT_S):
            while True:
                try:
                    done = await self.peer.ask(
                        command, ToolResult, resource=tool, key=key, token=minted.token, timeout_s=ATTEMPT_S
                    )
                except (Error, TimeoutError, Unavailable):
                    continue
                return str(done.result)

    async def owner(self, order: str) -> str:
        """Which instance began it, as recorded."""
        with anyio.fail_after(WAIT_S):
            while True:
                trail = await anyio.to_thread.run_sync(
                    lambda: self.developer.ask(Trail(run=f"run-{order}"), Entries).entries
                )
                for entry in trail:
                    if entry.type == "tool.started.v1":
                        return str(entry.data["owner"])

    def log(self) -> LogReport:
        return self.developer.ask(VerifyLog(), LogReport)


@pytest.fixture
async def agent(system: System, developer: dominie.Client) -> AsyncIterator[Agent]:
    keys, name = KeyPair.generate(), f"a-{uuid.uuid4().hex[:8]}"
    grants = Grants(tools=("pay", "mail"))
    developer.ask(Register(principal=name, nkey=keys.public, grants=grants, users=("u-dev",)), PrincipalView)
    async with connected(system.nats_url, keys, "local", name) as peer:
        yield Agent(peer, developer)


async def paid(ledger: Ledger, order: str) -> None:
    """Wait for the effect."""
    with anyio.fail_after(WAIT_S):
        while not ledger.payments(order):  # noqa: ASYNC110 - a file that another program writes
            await anyio.sleep(0.01)


async def test_a_repeated_command_has_the_first_ones_outcome_at_the_other(
    twins: Twins, agent: Agent, ledger: Ledger
) -> None:
    said = await agent.pay("repeated", "key-repeated", cents=700)
    with twins.without(await agent.owner("repeated")):
        assert await agent.pay("repeated", "key-repeated", cents=700) == said == "paid 700 for repeated"
    assert (ledger.calls("repeated"), ledger.payments("repeated")) == (1, 1)


async def test_a_key_that_was_used_for_something_else_is_a_conflict_at_either(
    twins: Twins, agent: Agent, ledger: Ledger
) -> None:
    for number, away in enumerate(twins.pids):
        order = f"changed-{number}"
        await agent.pay(order, f"key-{order}", cents=700)
        with twins.without(away), pytest.raises(Conflict, match="another request"):
            await agent.pay(order, f"key-{order}", cents=701)
        assert (ledger.calls(order), ledger.payments(order)) == (1, 1)


async def test_the_other_takes_over_from_one_that_stopped_after_the_effect(
    twins: Twins, agent: Agent, ledger: Ledger
) -> None:
    answers: list[str] = []
    answered = anyio.Event()

    async def pay() -> None:
        answers.append(await agent.pay("stopped", "key-stopped", bank_s=1.5))
        answered.set()

    async with anyio.create_task_group() as group:
        group.start_soon(pay)
        first = await agent.owner("stopped")
        await paid(ledger, "stopped")
        with twins.without(first):
            with anyio.fail_after(WAIT_S):
                await answered.wait()
    assert answers == ["paid 100 for stopped"]
    assert ledger.payments("stopped") == 1
    assert await agent.pay("stopped", "key-stopped", bank_s=1.5) == "paid 100 for stopped"
    assert agent.log().ok


@pytest.mark.parametrize("tool", ["pay", "mail"])
async def test_the_other_goes_on_for_one_that_was_killed_after_the_effect(
    tool: str, twins: Twins, agent: Agent, ledger: Ledger
) -> None:
    order = f"killed-{tool}"
    outcomes: list[str] = []

    async def pay() -> None:
        try:
            outcomes.append(await agent.pay(order, f"key-{order}", tool=tool, bank_s=1.5))
        except Conflict as conflict:
            outcomes.append(conflict.detail)

    async with anyio.create_task_group() as group:
        group.start_soon(pay)
        first = await agent.owner(order)
        await paid(ledger, order)
        os.kill(twins.pids[first], signal.SIGKILL)
    assert ledger.payments(order) == 1
    if tool == "pay":
        assert outcomes == [f"paid 100 for {order}"]
    else:
        assert outcomes == ["nobody can tell whether this happened; a person has to settle it"]
        assert ledger.calls(order) == 1
    assert agent.log().ok
