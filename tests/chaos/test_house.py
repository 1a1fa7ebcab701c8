"""Any part of the house is killed, again and again, while agents pay: each payment is made once and is on record."""

import random
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import count
from typing import Protocol

import anyio
import pytest

import dominie
from dominie_contracts.audit import LogReport
from dominie_contracts.envelope import Recorded
from dominie_contracts.subjects import SERVICES
from dominie_eventstore import JetStreamEventStore
from dominie_kit.bus import Inner
from dominie_kit.house.system import System
from dominie_kit.settings import KitSettings

pytestmark = pytest.mark.timeout(170)
AGENTS, AHEAD, WAIT_S = 4, 6, 60.0
TARGETS = (*SERVICES, "broker", "worker")


class Ledger(Protocol):
    def payments(self, name: str) -> int: ...


class Worker(Protocol):
    ledger: Ledger

    def start(self) -> None: ...

    def kill(self) -> None: ...


class Desk:
    """Agents that pay one order after the other, and note at which position each was acknowledged."""

    def __init__(self, agent: dominie.Client) -> None:
        self._agent = agent
        self._numbers = count()
        self._name = secrets.token_hex(4)
        self._changed = threading.Condition()
        self._stop = False
        self.paid: dict[str, int] = {}

    def work(self) -> None:
        """Until told to stop."""
        while not self._stop:
            order = f"{self._name}-{next(self._numbers)}"
            position = self._insist(order)
            with self._changed:
                self.paid[order] = position
                self._changed.notify_all()

    def _insist(self, order: str) -> int:
        """Ask until it is done; the same run and arguments are the same action."""
        while True:
            try:
                with self._agent.run(user="dev", id=f"run-{order}") as run:
                    assert run.invoke("pay", {"order": order}).result == f"paid 100 for {order}"
                    return run.position
            except (dominie.Unavailable, dominie.DeadlineExceeded):
                continue

    def stop(self) -> None:
        """Finish what was begun."""
        self._stop = True

    def more(self, orders: int) -> None:
        """Wait until so many more were paid."""
        with self._changed:
            wanted = len(self.paid) + orders
            assert self._changed.wait_for(lambda: len(self.paid) >= wanted, WAIT_S), "nobody is served"


@pytest.fixture
def desk(client_of: Callable[[str], AbstractContextManager[dominie.Client]], worker: Worker) -> Iterator[Desk]:
    with client_of("desk") as agent, ThreadPoolExecutor(AGENTS) as pool:
        found = Desk(agent)
        working = [pool.submit(found.work) for _ in range(AGENTS)]
        try:
            yield found
        finally:
            found.stop()
            for each in working:
                each.result(WAIT_S)


def targets(chance: random.Random, rounds: int) -> Iterator[str]:
    """Each part equally often, in any order."""
    some: list[str] = []
    for _ in range(rounds):
        some = some or chance.sample(TARGETS, len(TARGETS))
        yield some.pop()


def kill(system: System, worker: Worker, target: str) -> None:
    """Kill it, and wait until it is back."""
    if target == "worker":
        worker.kill()
        worker.start()
    else:
        system.wait_for_restart(target, after=system.kill(target))


def test_whoever_is_killed(
    system: System,
    worker: Worker,
    desk: Desk,
    verify: Callable[[], LogReport],
    chance: random.Random,
    house_rounds: int,
) -> None:
    checked = 0
    for target in targets(chance, house_rounds):
        desk.more(chance.randint(1, AHEAD))
        kill(system, worker, target)
        orders = list(desk.paid)[checked:]
        assert {order: worker.ledger.payments(order) for order in orders} == dict.fromkeys(orders, 1), target
        checked += len(orders)
    desk.more(AHEAD)
    desk.stop()
    paid = dict(desk.paid)
    stored = anyio.run(finished, system)
    assert {order: stored.get(position, "nothing") for order, position in paid.items()} == {
        order: f"run-{order}" for order in paid
    }
    assert [run for run, times in Counter(stored.values()).items() if times > 1] == []
    assert {order: worker.ledger.payments(order) for order in paid} == dict.fromkeys(paid, 1)
    report = verify()
    assert report.ok, report


async def finished(system: System) -> dict[int, str | None]:
    """Which run's payment was finished at which position."""
    audit = Inner("audit", KitSettings(nats_url=system.nats_url, keys=system.plan.keys))
    await audit.open()
    try:
        events = [event async for event in JetStreamEventStore(audit.client).read_all(category="tool")]
    finally:
        await audit.close()
    return {event.position: _run(event) for event in events if event.envelope.type == "tool.finished.v1"}


def _run(event: Recorded) -> str | None:
    return event.envelope.correlation_id
