"""What waits for people, and what they said, outlives every process that is killed meanwhile; the effect comes once."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import pytest

import dominie
from dominie.keys import KeyPair
from dominie_contracts.audit import Entries, Trail
from dominie_contracts.guardrail import ApprovalView
from dominie_kit.house.system import System

pytestmark = [pytest.mark.timeout(150), pytest.mark.usefixtures("ledger")]
POLICIES = """
@id("granted")
permit (principal, action, resource);

@id("large-payment") @ask("finance") @quorum("2") @why("payments over $50 need two of finance")
forbid (principal, action == Action::"tool.invoke", resource == Tool::"pay")
when { context has amount && context.amount > 5000 };
"""
KILLED = ("broker", "identity", "guardrail", "tool")
STEPS = ["it waits", "one has said yes", "both have said yes"]


class Ledger(Protocol):
    def payments(self, name: str) -> int: ...


Person = Callable[[str], AbstractContextManager[dominie.Client]]


@pytest.fixture(scope="module")
def person(system: System, dominie_command: str, tmp_path_factory: pytest.TempPathFactory) -> Person:
    """Who answers, with a key of their own; finance has two of them."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "p.cedar").write_text(POLICIES)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
    for words in (("policy", "publish", str(folder)), ("approvals", "enrol", "gil", "--group", "finance")):
        command = [dominie_command, *words, "--json"]
        done = subprocess.run(command, cwd=system.plan.folder, env=environment, capture_output=True, timeout=60)
        assert done.returncode == 0 and json.loads(done.stdout), done.stderr

    def client(name: str) -> dominie.Client:
        keys = KeyPair.load(Path(system.keys.path) / "people" / f"u-{name}.seed")
        return dominie.Client(credentials=dominie.Credentials(system.nats_url, "local", f"u-{name}", keys))

    return client


@pytest.fixture(scope="module")
def agent(client_of: Callable[[str], AbstractContextManager[dominie.Client]]) -> Iterator[dominie.Client]:
    with client_of("desk") as client:
        yield client


def pay(agent: dominie.Client, order: str) -> object:
    with agent.run(user="dev", id=f"run-{order}") as run:
        return run.invoke("pay", {"order": order, "cents": 9000}, key=f"{order}-pay").result


def kill_all(system: System) -> None:
    killed = [(victim, system.kill(victim)) for victim in KILLED]
    for victim, pid in killed:
        system.wait_for_restart(victim, after=pid)


def found(client: dominie.Client, order: str) -> ApprovalView:
    (view,) = [each for each in client.approvals(everything=True) if each.arguments.get("order") == order]
    return view


@pytest.mark.parametrize("when", STEPS)
def test_what_waits_outlives_everybody(
    when: str, system: System, ledger: Ledger, agent: dominie.Client, developer: dominie.Client, person: Person
) -> None:
    order = f"order-{STEPS.index(when)}"
    with pytest.raises(dominie.ApprovalRequired):
        pay(agent, order)
    for step, name in zip(STEPS, ("finance", "gil", None), strict=True):
        if step == when:
            kill_all(system)
        if name is None:
            break
        with pytest.raises(dominie.ApprovalRequired, match="2 of finance"):
            pay(agent, order)
        with person(name) as client:
            left = client.approve(found(client, order))
            assert [ask.policy for ask in left] == (["large-payment"] if name == "finance" else [])
    assert [pay(agent, order) for _ in range(2)] == [f"paid 9000 for {order}"] * 2
    assert ledger.payments(order) == 1
    entries = developer.ask(Trail(run=f"run-{order}"), Entries).entries
    types = Counter(entry.type for entry in entries)
    assert (types["tool.parked.v1"], types["tool.approved.v1"], types["approval.answered.v1"]) == (1, 1, 2)


def test_an_answer_waits_for_guardrail_to_come_back(
    system: System, agent: dominie.Client, ledger: Ledger, person: Person
) -> None:
    with pytest.raises(dominie.ApprovalRequired):
        pay(agent, "order-away")
    for name in ("finance", "gil"):
        with person(name) as client:
            view = found(client, "order-away")
            killed = system.kill("guardrail")
            client.approve(view)
            system.wait_for_restart("guardrail", after=killed)
    assert pay(agent, "order-away") == "paid 9000 for order-away"
    assert ledger.payments("order-away") == 1


def test_a_run_that_asked_for_more_outlives_everybody(
    system: System, agent: dominie.Client, developer: dominie.Client, person: Person
) -> None:
    """No policy names anybody: the user answers, and what they allowed is written once."""

    def ask() -> None:
        with agent.run(user="gil", id="wider", max_cost_usd=1) as run:
            run.widen(max_cost_usd=2, reason="there is more to read")

    with pytest.raises(dominie.ApprovalRequired):
        ask()
    kill_all(system)
    with pytest.raises(dominie.ApprovalRequired, match="user"):
        ask()
    with person("gil") as client:
        (view,) = [each for each in client.approvals() if each.category == "widening"]
        client.approve(view)
    killed = system.kill("identity")
    system.wait_for_restart("identity", after=killed)
    for _ in range(2):
        ask()
    entries = developer.ask(Trail(run="wider"), Entries).entries
    types = Counter(entry.type for entry in entries)
    assert (types["widening.parked.v1"], types["widening.approved.v1"], types["run.widened.v1"]) == (1, 1, 1)
