"""Each service, and the broker, killed in the middle of runs: every run ends right, each effect happens once."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Protocol

import pytest

import dominie
from dominie_contracts.audit import Entries, LogReport, Trail
from dominie_contracts.subjects import SERVICES
from dominie_kit.house.system import System

RUNS, AT_ONCE = 6, 3
WAIT_S = 45.0
FINISHED = {"model.finished.v1": 1, "tool.finished.v1": 1, "memory.finished.v1": 3, "judge.finished.v1": 1}
"""How often which kind of step ended in one run; the session's turn is the third that memory took."""


class Ledger(Protocol):
    def payments(self, name: str) -> int: ...


@pytest.fixture(scope="module")
def agent(
    client_of: Callable[[str], AbstractContextManager[dominie.Client]], ledger: Ledger
) -> Iterator[dominie.Client]:
    with client_of("desk") as client:
        yield client


def work(agent: dominie.Client, order: str) -> None:
    """One run of everything that an agent does."""
    with agent.run(user="dev", id=f"run-{order}", session=f"session-{order}") as run:
        assert "You said: pay" in run.chat([{"role": "user", "content": f"pay {order}"}]).text
        assert run.invoke("pay", {"order": order, "bank_s": 0.1}).result == f"paid 100 for {order}"
        assert run.remember(f"{order} has been paid")
        assert [found.text for found in run.recall(order, limit=1)] == [f"{order} has been paid"]
        assert run.reply(f"{order} is paid.") == f"{order} is paid."


def wait_until(true: Callable[[], bool]) -> None:
    until_s = time.monotonic() + WAIT_S
    while not true():
        assert time.monotonic() < until_s
        time.sleep(0.005)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("victim", [*SERVICES, "broker"])
def test_who_is_killed_costs_no_run(
    victim: str,
    system: System,
    ledger: Ledger,
    agent: dominie.Client,
    developer: dominie.Client,
    verify: Callable[[], LogReport],
) -> None:
    orders = [f"{victim}-{number}" for number in range(RUNS)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        runs: list[Future[None]] = [pool.submit(work, agent, order) for order in orders]
        wait_until(lambda: any(ledger.payments(order) for order in orders))
        killed = system.kill(victim)
        assert not all(run.done() for run in runs)
        for run in runs:
            run.result(WAIT_S)
    system.wait_for_restart(victim, after=killed)
    assert {order: ledger.payments(order) for order in orders} == dict.fromkeys(orders, 1)
    for order in orders:
        trail = developer.ask(Trail(run=f"run-{order}"), Entries)
        finished = Counter(entry.type for entry in trail.entries if entry.type.endswith(".finished.v1"))
        assert finished == FINISHED
    report = verify()
    assert report.ok, report
