"""Guardrail and the tool service are killed, again and again, while calls reserve shares of a limit: never is more used
than there is, and nothing stays reserved.
"""

import random
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import count
from typing import Protocol

import pytest

import dominie
from dominie_contracts.guardrail import Limits, LimitUse, ListLimits
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(170)
AGENTS, KILLS, CENTS, MOST, WAIT_S = 4, 6, 100, 10_000, 90.0
POLICIES = f"""
@id("granted")
permit (principal, action, resource);

@id("spend") @limit("{MOST}") @per("user") @within("month") @why("what a user may spend")
forbid (principal, action == Action::"tool.invoke", resource == Tool::"pay");
"""


class Ledger(Protocol):
    def payments(self, name: str) -> int: ...


class Worker(Protocol):
    ledger: Ledger


ClientOf = Callable[[str], AbstractContextManager[dominie.Client]]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """What calls with a limit need, and a guardrail that looks often."""
    folder = tmp_path_factory.mktemp("limits")
    (folder / "project").mkdir()
    (folder / "policies").mkdir()
    (folder / "policies" / "limits.cedar").write_text(POLICIES)
    environment = {
        "DOMINIE_GUARDRAIL_POLICIES": str(folder / "policies"),
        "DOMINIE_GUARDRAIL_SETTLE_S": "0.2",
        "DOMINIE_GUARDRAIL_VANISH_S": "8",
        "DOMINIE_STALENESS_S": "20",
    }
    services = ("identity", "guardrail", "tool")
    with System(folder / "project", keys=folder / "keys", services=services, environment=environment) as found:
        yield found


class Desk:
    """Agents that pay until there is nothing left; what was paid, and that they were told so."""

    def __init__(self, agent: dominie.Client) -> None:
        self._agent = agent
        self._numbers = count()
        self._name = secrets.token_hex(4)
        self._left = threading.Event()
        self.paid = list[str]()
        self.used_up = 0

    def work(self) -> None:
        """Until the limit says no; each time with the same key until it is one or the other."""
        until = time.monotonic() + WAIT_S
        while not self._left.is_set() and time.monotonic() < until:
            order = f"{self._name}-{next(self._numbers)}"
            if self._pay(order, until):
                self.paid.append(order)

    def _pay(self, order: str, until: float) -> bool:
        while time.monotonic() < until:
            try:
                with self._agent.run(user="dana", id=f"run-{order}") as run:
                    run.invoke("pay", {"order": order, "cents": CENTS, "bank_s": 0.2})
                    return True
            except (dominie.Unavailable, dominie.DeadlineExceeded):
                time.sleep(0.05)
            except dominie.BudgetExceeded:
                self.used_up += 1
                self._left.set()
                return False
        return False


def use(developer: dominie.Client) -> LimitUse:
    """What of the limit is used now; guardrail may be on its way back."""
    until = time.monotonic() + WAIT_S
    while True:
        try:
            return developer.ask(ListLimits(policy="spend"), Limits).limits[0]
        except dominie.Unavailable:
            assert time.monotonic() < until, "guardrail does not come back"
            time.sleep(0.1)


def until_in_force(developer: dominie.Client) -> None:
    """Guardrail publishes its folder when it has begun."""
    until = time.monotonic() + WAIT_S
    while not developer.ask(ListLimits(), Limits).limits:
        assert time.monotonic() < until, "no policy comes into force"
        time.sleep(0.1)


def test_never_more_than_there_is_and_nothing_stays_reserved(
    system: System, worker: Worker, client_of: ClientOf, developer: dominie.Client, chance: random.Random
) -> None:
    until_in_force(developer)
    with client_of("desk") as agent, ThreadPoolExecutor(AGENTS) as pool:
        desk = Desk(agent)
        working = [pool.submit(desk.work) for _ in range(AGENTS)]
        for number in range(KILLS):
            target = ("guardrail", "tool")[number % 2]
            time.sleep(chance.uniform(0.0, 0.3))  # when it hits is the accident
            system.wait_for_restart(target, after=system.kill(target))
            found = use(developer)
            assert found.used + found.reserved <= MOST
        for each in working:
            each.result(2 * WAIT_S)
    made = sum(worker.ledger.payments(f"{desk._name}-{number}") for number in range(next(desk._numbers)))
    assert desk.used_up and made * CENTS <= MOST
    assert {order: worker.ledger.payments(order) for order in desk.paid} == dict.fromkeys(desk.paid, 1)
    until = time.monotonic() + WAIT_S
    while (found := use(developer)).reserved:
        assert time.monotonic() < until, f"{found.reserved} stay reserved"
        time.sleep(0.2)
    assert found.used == made * CENTS
    system.wait_for_restart("guardrail", after=system.kill("guardrail"))
    assert use(developer).model_copy(update={"resets_s": found.resets_s}) == found
