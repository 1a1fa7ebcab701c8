"""Policies from the folder to the decision, and back: published, explained, tried on the past, away, observed."""

import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import dominie
from dominie_contracts.audit import Entries, Search
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(240)
DOMINIE_S = 60.0
STALENESS_S = 8.0
PERMIT = '@id("all") permit (principal, action, resource);\n'
LARGE = """
@id("large") @ask("finance") @why("over the limit")
forbid (principal, action == Action::"pay", resource) when { context has amount && context.amount > %d };
"""
NEVER = (
    '@id("never") @why("nobody pays") forbid (principal, action == Action::"tool.invoke", resource == Tool::"pay");\n'
)
ClientOf = Callable[[str], AbstractContextManager[dominie.Client]]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """What decides, and what tells of it."""
    folder = tmp_path_factory.mktemp("policies")
    (folder / "project").mkdir()
    services = ("identity", "guardrail", "tool", "audit")
    stale = {"DOMINIE_STALENESS_S": str(STALENESS_S)}
    with System(folder / "project", keys=folder / "keys", services=services, environment=stale) as found:
        yield found


class Cli:
    """The command line, in the project."""

    def __init__(self, system: System, command: str) -> None:
        self.folder = system.plan.folder
        self._command = command

    def run(self, *arguments: object, code: int = 0) -> "subprocess.CompletedProcess[str]":
        plain = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
        done = subprocess.run(
            [self._command, *map(str, arguments)],
            cwd=self.folder,
            env=plain,
            capture_output=True,
            text=True,
            timeout=DOMINIE_S,
        )
        assert done.returncode == code, done.stderr
        return done

    def json(self, *arguments: object, code: int = 0) -> Any:
        return json.loads(self.run(*arguments, "--json", code=code).stdout)

    def publish(self, *texts: str, tenant: str | None = None) -> Any:
        return self.json("policy", "publish", self.write(*texts), "--wait", *(("--tenant", tenant) if tenant else ()))

    def write(self, *texts: str) -> Path:
        directory = self.folder / "candidate"
        directory.mkdir(exist_ok=True)
        (directory / "a.cedar").write_text("\n".join(texts))
        return directory


@pytest.fixture
def cli(system: System, worker: object, dominie_command: str) -> Cli:
    return Cli(system, dominie_command)


@pytest.fixture
def run(client_of: ClientOf, worker: object) -> Iterator[dominie.Run]:
    with client_of("payer") as client, client.run(user="dana") as found:
        yield found


def pay(run: dominie.Run, cents: int, **more: Any) -> str:
    """How a payment was decided."""
    try:
        run.invoke("pay", {"order": "A1", "cents": cents}, **more)
    except dominie.ApprovalRequired:
        return "ask"
    except dominie.Forbidden:
        return "deny"
    return "allow"


def test_when_publish_returns_everybody_decides_by_it(cli: Cli, run: dominie.Run) -> None:
    for _ in range(3):
        done = cli.publish(PERMIT, NEVER)
        assert (pay(run, 1), done["late"]) == ("deny", [])
        assert {name.partition("-")[0] for name in done["reached"]} == {"guardrail", "identity", "tool", "audit"}
        assert cli.publish(PERMIT)["diff"]["removed"] == ["never"]
        assert pay(run, 1) == "allow"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "permit (",
        PERMIT + NEVER.replace("tool.invoke", "tool.sell"),
        PERMIT + NEVER.replace("tool.invoke", "mial"),
        PERMIT + NEVER.replace("@why", "@because"),
        PERMIT + LARGE.replace("amount", "amuont") % 5,
        PERMIT + '@id("x") forbid (principal, action, resource) when { context.untrusted.contains("recipent") };',
    ],
)
def test_a_set_with_a_slip_is_refused_and_nothing_changes(
    cli: Cli, run: dominie.Run, developer: dominie.Client, text: str
) -> None:
    cli.publish(PERMIT)
    before = developer.ask(Search(type="policy.published", limit=1000), Entries).entries
    refused = cli.run("policy", "publish", cli.write(text), "--wait", code=1)
    assert refused.stdout == "" and len(refused.stderr.splitlines()) >= 1
    assert developer.ask(Search(type="policy.published", limit=1000), Entries).entries == before
    assert pay(run, 1) == "allow"


def test_a_decision_holds_what_it_takes_to_make_it_again_and_is_explained(
    cli: Cli, run: dominie.Run, developer: dominie.Client
) -> None:
    published = cli.publish(PERMIT, LARGE % 5000)
    with pytest.raises(dominie.ApprovalRequired) as asked:
        run.invoke("pay", {"order": "A1", "cents": 9000})
    action = str(asked.value.extra["action"])
    (entry,) = developer.ask(Search(type="tool.decided", action=action), Entries).entries
    request = entry.data["request"]
    assert isinstance(request, dict) and isinstance(request["context"], dict)
    assert request["action"] == {"type": "Action", "id": "pay@1"}
    assert request["context"]["arguments"] == {"order": "A1", "cents": 9000}
    assert entry.data["policy_set"] == published["digest"]
    assert len(str(entry.data["schema_digest"])) == 16
    assert abs(float(str(entry.data["clock_s"])) - time.time()) < 60
    (told,) = cli.json("policy", "explain", action[:12])["decisions"]
    assert (told["decision"], told["known"]) == ("ask", True)
    assert [(each["policy"], each["looked_at"]) for each in told["because"]] == [("large", {"amount": 9000})]
    cli.publish(PERMIT)
    assert cli.json("policy", "explain", action)["decisions"][0]["because"] == told["because"]
    what_if = cli.json("policy", "explain", "--tool", "pay", "--arguments", '{"order": "A1", "cents": 9000}')
    assert what_if["decisions"][0]["decision"] == "allow"
    assert "no action" in cli.run("policy", "explain", "ffffffff", code=1).stderr
    assert "'a-b' is no action's id" in cli.run("policy", "explain", "a-b", code=1).stderr


def test_another_limit_is_tried_on_the_past(cli: Cli, run: dominie.Run) -> None:
    cli.publish(PERMIT, LARGE % 5000)
    since = datetime.now(UTC).isoformat()
    amounts = (1000, 2000, 2001, 4500, 9000)
    assert [pay(run, cents) for cents in amounts] == ["allow"] * 4 + ["ask"]
    found = cli.json("policy", "backtest", cli.write(PERMIT, LARGE % 2000), "--since", since)
    assert [(each["amount"], each["was"], each["now"]) for each in found["changes"]] == [
        (2001, "allow", "ask"),
        (4500, "allow", "ask"),
    ]
    assert (found["decisions"], found["same"], found["undecidable"], found["open_loop"]) == (5, 3, 0, True)
    assert cli.json("policy", "backtest", cli.write(PERMIT, LARGE % 5000), "--since", since)["changed"] == 0


def test_what_was_erased_is_undecidable(cli: Cli, client_of: ClientOf, tmp_path: Path) -> None:
    cli.publish(PERMIT)
    since = datetime.now(UTC).isoformat()
    with client_of("payer") as client:
        for user in ("zoe", "dana"):
            with client.run(user=user) as run:
                assert pay(run, 4000) == "allow"
    cli.run("audit", "erase", "zoe", "--yes", "--out", tmp_path / "receipt")
    found = cli.json("policy", "backtest", cli.write(PERMIT, LARGE % 2000), "--since", since)
    assert [(each["user"], each["amount"], each["now"]) for each in found["changes"]] == [("u-dana", 4000, "ask")]
    assert found["undecidable_why"] == {"erased": 1}
    suggested = cli.json("policy", "suggest", "--since", since)
    assert suggested["left_out"]["a decision: erased"] == 1


def test_a_tenants_own_policies_hold_beside_everybodys(cli: Cli, run: dominie.Run) -> None:
    cli.publish(PERMIT)
    cli.publish(NEVER, tenant="elsewhere")
    assert pay(run, 1) == "allow"
    cli.publish(NEVER, tenant="local")
    assert pay(run, 1) == "deny"
    cli.publish(PERMIT, LARGE % 5000)
    assert pay(run, 1) == "deny"
    cli.publish(LARGE.replace('"large"', '"own"') % 100, tenant="local")
    assert [pay(run, cents) for cents in (100, 101)] == ["allow", "ask"]
    refused = cli.run("policy", "publish", cli.write(LARGE % 5), "--tenant", "local", code=1)
    assert "is taken" in refused.stderr


def test_guardrail_away(cli: Cli, run: dominie.Run, client_of: ClientOf, system: System) -> None:
    cli.publish(PERMIT, LARGE % 5000, '@id("unused") forbid (principal, action == Action::"mail", resource);')
    cli.publish(LARGE.replace('"large"', '"own"') % 5000, tenant="local")
    assert pay(run, 1) == "allow"
    asked: list[str] = []
    pid = system.kill("guardrail", signal.SIGSTOP)
    stopped_s = time.monotonic()
    try:
        with client_of("asker") as other, other.run(user="eli") as waiting:
            _sleep_until(stopped_s + STALENESS_S / 2 + 0.2)
            asking = threading.Thread(target=lambda: asked.append(pay(waiting, 9000, timeout_s=60)))
            asking.start()
            assert pay(run, 2) == "allow"
            with pytest.raises(dominie.Unavailable, match="has to be asked"):
                run.invoke("pay", {"order": "A1", "cents": 9000}, timeout_s=0.5)
            assert time.monotonic() - stopped_s < STALENESS_S - 1, "this machine was too slow to tell"
            _sleep_until(stopped_s + STALENESS_S + 0.5)
            with pytest.raises(dominie.Unavailable, match="last confirmed"):
                run.invoke("pay", {"order": "A1", "cents": 3}, timeout_s=0.5)
            assert not asked
            back_s = time.monotonic()
            os.kill(pid, signal.SIGCONT)
            assert pay(run, 3) == "allow"
            assert time.monotonic() - back_s < 3
            asking.join(30)
            assert asked == ["ask"]
    finally:
        os.kill(pid, signal.SIGCONT)


def test_guardrail_killed_comes_back_with_the_policies_in_force(cli: Cli, run: dominie.Run, system: System) -> None:
    cli.publish(LARGE.replace('"large"', '"own"') % 50, tenant="local")
    killed = system.kill("guardrail")
    system.wait_for_restart("guardrail", after=killed)
    back_s = time.monotonic()
    assert [pay(run, cents) for cents in (50, 51)] == ["allow", "ask"]
    assert time.monotonic() - back_s < 3


def test_what_is_observed_goes_on_and_says_so(tmp_path: Path, dominie_command: str) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.cedar").write_text('@id("no") @why("nothing") forbid (principal, action, resource);')
    with System(
        tmp_path / "project",
        keys=tmp_path / "keys",
        services=("identity", "guardrail", "memory", "audit"),
        policies=tmp_path / "policies",
        observe=True,
    ) as observed:
        command = Cli(observed, dominie_command)
        script = observed.plan.folder / "agent.py"
        script.write_text(
            "import dominie\n"
            "with dominie.Client().run(user='dana', id='r-1') as run:\n"
            "    assert run.remember('prefers e-mail')\n"
        )
        command.run("exec", "--", dominie_command.replace("/dominie", "/python"), "agent.py")
        trail = command.json("trace", "r-1")["entries"]
        (decided,) = [entry for entry in trail if entry["type"] == "memory.decided.v1"]
        assert (decided["data"]["decision"], decided["data"]["observed"]) == ("deny", True)
        assert decided["summary"].startswith("NOT ENFORCED, only observed: denied: nothing")
        suggested = command.json("policy", "suggest")
        assert suggested["permits"] == 1 and "Namespace::" in suggested["policies"]
        (tmp_path / "policies" / "a.cedar").write_text(suggested["policies"])
        assert command.json("policy", "backtest", tmp_path / "policies")["changes"][0]["now"] == "allow"


def _sleep_until(at_s: float) -> None:
    """Let a stated time go by: that it does is what is tested."""
    time.sleep(max(0.0, at_s - time.monotonic()))
