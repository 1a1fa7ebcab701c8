"""The demo's governed desk, forked where a refund was refused: what is on record is not done again, the rest is."""

import contextlib
import json
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest

import dominie
from dominie.keys import KeyPair
from dominie_contracts.audit import Entries, Trail
from dominie_contracts.identity import PrincipalView, Register
from dominie_contracts.runs import Forked, ForkRun
from dominie_contracts.token import Fork
from dominie_demo.desk_run import Desk, wait_until
from dominie_demo.places import AGENT_PYTHON, DESK, PYTHON
from dominie_kit.house.operator import operator
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(120)
TIMEOUT_S = 60.0
TICKET = {
    "id": "T-2",
    "from": "eli",
    "text": "The lamp from order A-1002 never came. I would like a refund of $90.",
}
PERMIT = '@id("granted") permit (principal, action, resource);'
COUNTED = """

def _counted(name, function):
    def call(*words, **named):
        with open(os.environ["DESK_CALLS"], "a") as calls:
            print(name, file=calls)
        return function(*words, **named)
    return call


for _name in ("lookup_order", "list_customers", "refund", "send_mail"):
    globals()[_name] = _counted(_name, globals()[_name])
"""


@dataclass
class Provider:
    """What stands between the model service and the scripted model: it counts the calls."""

    base: str
    calls: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: bytes) -> bytes:
        with self.lock:
            self.calls += 1
        request = urllib.request.Request(self.base + path, data=body, headers={"content-type": "application/json"})
        request.add_header("authorization", "Bearer scripted")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            found: bytes = answer.read()
        return found


ProviderOf = Callable[[Callable[[str, bytes], bytes]], contextlib.AbstractContextManager[str]]


@contextlib.contextmanager
def scripted(provider_of: ProviderOf) -> Iterator[tuple[Provider, str]]:
    """The scripted model of the demo behind a counter, and its address."""
    command = [str(PYTHON), "-m", "dominie_model.adapters.play", str(DESK / "script.json")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as script:
        assert script.stdout is not None
        found = Provider(json.loads(script.stdout.readline())["base_url"].removesuffix("/v1"))
        try:
            with provider_of(found.answer) as base:
                yield found, base
        finally:
            script.terminate()


@dataclass
class Shop:
    """The desk's folder under a house that runs, and what its world has seen."""

    desk: Desk
    system: System
    provider: Provider
    run: str = ""

    def dominie(self, *words: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
        """A command as a user types it in the desk's folder."""
        done = subprocess.run(
            [str(PYTHON.with_name("dominie")), *words],
            cwd=self.desk.folder,
            env=self.desk.environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert not ok or done.returncode == 0, done.stderr
        return done

    def json(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.dominie(*words, "--json").stdout)
        return found

    def fork(self, run: str, at: int, *options: str, ok: bool = True) -> tuple[dict[str, Any], str]:
        """Fork a run of the desk, whose every ticket is open again; the one JSON object, and what was said."""
        (self.desk.folder / "answers.jsonl").unlink(missing_ok=True)
        words = (*("fork", run, "--at", str(at), "--json"), *options, "--", str(AGENT_PYTHON), "desk.py")
        done = self.dominie(*words, ok=ok)
        assert ok or done.returncode != 0
        found: dict[str, Any] = json.loads(done.stdout)
        return found, done.stderr

    def calls(self) -> tuple[int, list[str]]:
        """The provider's calls, and the tool worker's."""
        return self.provider.calls, (self.desk.folder.parent / "calls").read_text().split()

    def steps(self, run: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("replay", run)["steps"]
        return found

    def step_of(self, run: str, type_: str, resource: str) -> int:
        """The number of the last such event, as `dominie replay` has it."""
        numbered = enumerate(self.steps(run), 1)
        return max(n for n, step in numbered if step["type"] == type_ and step["data"].get("resource") == resource)

    def mailbox(self, text: str) -> None:
        (self.desk.folder / "mailbox.json").write_text(json.dumps([{**TICKET, "text": text}]))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, provider_of: ProviderOf) -> Iterator[Shop]:
    """The desk has answered its one ticket: finance has said no to the refund."""
    folder = tmp_path_factory.mktemp("shop")
    mailbox = folder / "mailbox.json"
    mailbox.write_text(json.dumps([TICKET]))
    environment = {
        "OPENAI_API_KEY": "unused",
        "LANGSMITH_TRACING": "false",
        "DESK_CALLS": str(folder / "calls"),
    }
    desk = Desk(folder / "desk", "governed", mailbox, environment)
    with (desk.folder / "ledger.py").open("a") as ledger:
        ledger.write(COUNTED)
    with scripted(provider_of) as (counted, base):
        offer = {"model": "openai/scripted", "api_base": base, "api_key": "scripted"}
        offers = {"DOMINIE_MODEL_OFFERS": json.dumps({"auto": offer, "other": offer})}
        system = System(desk.folder, keys=folder / "keys", policies=DESK / "policies", environment=offers)
        with system, worker(desk):
            found = Shop(desk, system, counted)
            answer_once(found)
            yield found


@contextlib.contextmanager
def worker(desk: Desk) -> Iterator[None]:
    command = [str(PYTHON.with_name("dominie")), "worker", "tools.py", "--json"]
    with (
        (desk.folder / "worker.log").open("wb") as log,
        subprocess.Popen(command, cwd=desk.folder, env=desk.environment, stdout=subprocess.PIPE, stderr=log) as served,
    ):
        assert served.stdout is not None
        try:
            assert json.loads(served.stdout.readline())["worker"] == "w-tools"
            yield
        finally:
            served.kill()


def answer_once(shop: Shop) -> None:
    agent = shop.desk.start()
    asked: list[dict[str, Any]] = []

    def parked() -> bool:
        asked[:] = shop.json("approvals", "list")["approvals"]
        return bool(asked)

    wait_until(parked, "the refund to ask for a yes", agent=agent)
    shop.dominie("approvals", "deny", asked[0]["action"])
    shop.desk.finish(agent)
    shop.run = shop.json("ps")["runs"][0]["run"]


@pytest.fixture(scope="module")
def permitted(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], dict[str, Any]]:
    """The fork of the run at its refused step, under a policy that permits it; made once."""
    policies = tmp_path_factory.mktemp("policies")
    (policies / "desk.cedar").write_text(PERMIT)
    made: list[dict[str, Any]] = []

    def fork() -> dict[str, Any]:
        if not made:
            at = shop.step_of(shop.run, "tool.requested.v1", "refund")
            made.append(shop.fork(shop.run, at, "--policy", str(policies))[0])
        return made[0]

    return fork


def test_what_was_refused_is_done_in_the_fork_and_nothing_on_record_again(
    shop: Shop, permitted: Callable[[], dict[str, Any]]
) -> None:
    before, tools = shop.calls()
    assert (before, tools, shop.desk.refunds("A-1002")) == (3, ["lookup_order"], 0)
    made = permitted()
    assert (made["run"], made["exit_code"], made["diverged"]) == (shop.run, 0, None)
    assert made["served"] == 4 and made["live"] == 4, "the turn, two chats and the look-up; then what followed"
    assert shop.calls() == (before + 1, ["lookup_order", "refund"])
    assert shop.desk.refunds("A-1002") == 1
    assert shop.desk.answers()[0]["answer"] == "I have refunded $90.00 for order A-1002."


def test_the_forks_own_trail_says_what_was_served_and_under_which_policies(
    shop: Shop, permitted: Callable[[], dict[str, Any]]
) -> None:
    made = permitted()
    positions = {step["position"] for step in shop.steps(shop.run)}
    opened, *rest = shop.steps(made["fork"])
    assert opened["data"]["fork"]["run"] == shop.run
    served = [step["data"].get("served_from") for step in rest if step["type"].endswith("finished.v1")]
    assert served[4:] == [None] * 4 and set(served[:4]) <= positions
    decided = [step for step in rest if step["type"] == "tool.decided.v1"]
    assert [step["data"]["decision"] for step in decided] == ["allow", "allow"]
    events = {event["position"]: event for event in shop.json("audit", "search", "--run", made["fork"])["entries"]}
    assert events.keys() >= {step["position"] for step in decided}
    assert shop.json("audit", "verify")["ok"]


def test_a_fork_of_the_fork_is_served_from_it(shop: Shop, permitted: Callable[[], dict[str, Any]]) -> None:
    made = permitted()
    before = shop.calls()
    end = len(shop.steps(made["fork"])) + 1
    again, _ = shop.fork(made["fork"], end)
    assert (again["served"], again["live"], shop.calls()) == (8, 0, before)
    assert shop.desk.refunds("A-1002") == 1


def test_another_model_answers_what_is_live(shop: Shop) -> None:
    before, tools = shop.calls()
    made, _ = shop.fork(shop.run, shop.step_of(shop.run, "model.requested.v1", "auto"), "--model", "other")
    assert made["model"] == "other"
    asked = [step["data"]["resource"] for step in shop.steps(made["fork"]) if step["type"] == "model.requested.v1"]
    assert (asked, shop.calls()) == (["auto", "auto", "other"], (before + 1, tools))


def test_a_program_that_asks_for_something_else_is_stopped(shop: Shop) -> None:
    before = shop.calls()
    shop.mailbox("The lamp from order A-1001 never came. I would like a refund of $9.")
    try:
        made, said = shop.fork(shop.run, len(shop.steps(shop.run)), ok=False)
    finally:
        shop.mailbox(TICKET["text"])
    assert (made["served"], made["live"], shop.calls()) == (0, 0, before)
    assert "A-1001" in made["diverged"]["extra"]["asked"]
    assert "asked   add_turn" in said and "record  add_turn" in said


def test_what_cannot_be_forked_is_said(shop: Shop, tmp_path: Path) -> None:
    events, before = len(shop.steps(shop.run)), shop.calls()
    (tmp_path / "bad.cedar").write_text("permit")
    end = ("--", sys.executable, "-c", "")
    for words, why in {
        ("nosuch", "--at", "1"): "no run 'nosuch'",
        (shop.run, "--at", "0"): f"fork it at 1 to {events + 1}, not 0",
        (shop.run, "--at", str(events + 2)): f"not {events + 2}",
        (shop.run, "--at", "1", "--model", "nosuch"): "no model 'nosuch'",
        (shop.run, "--at", "1", "--policy", str(tmp_path)): "does not parse",
        (shop.run, "--at", "1", "--policy", str(tmp_path / "none")): "holds no policies",
        (shop.run, "--at", "1"): "opened no run",
    }.items():
        done = shop.dominie("fork", *words, *end, ok=False)
        assert (done.returncode, done.stdout) == (1, "") and why in done.stderr, done.stderr
    assert shop.calls() == before


def test_another_tenants_run_is_not_there(shop: Shop) -> None:
    keys = KeyPair.generate()

    async def register() -> None:
        async with operator(shop.system.nats_url, shop.system.state.keys()) as asking:
            eve = Register(principal="u-eve", nkey=keys.public, tenant="other", groups=("developers",))
            await asking.ask(eve, PrincipalView)

    anyio.run(register)
    credentials = dominie.Credentials(shop.system.nats_url, "other", "u-eve", keys)
    with dominie.Client(credentials=credentials, timeout_s=TIMEOUT_S) as eve:
        assert eve.ask(Trail(run=shop.run), Entries).entries == ()
        with pytest.raises(dominie.Invalid, match="no run"):
            eve.ask(ForkRun(fork=Fork(run=shop.run, at=1)), Forked)
