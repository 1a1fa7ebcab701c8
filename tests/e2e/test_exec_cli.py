"""The commands as a user types them: programs under `dominie exec`, and one JSON object from everything else."""

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from dominie_kit.house.system import System

pytestmark = [pytest.mark.timeout(90), pytest.mark.usefixtures("ledger")]
TIMEOUT_S = 60.0
OPENAI = """
import json, os, sys, urllib.request

base, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
body = {"model": "auto", "messages": [{"role": "user", "content": "hello from " + sys.argv[1]}]}
request = urllib.request.Request(
    base + "/chat/completions",
    data=json.dumps(body).encode(),
    headers={"authorization": "Bearer " + key, "content-type": "application/json"},
)
with urllib.request.urlopen(request, timeout=30) as answer:
    found = json.load(answer)
print(json.dumps({"said": found["choices"][0]["message"]["content"], "base": base, "key": key}))
"""
AGENT = """
import json, sys
import dominie

with dominie.Client() as client, client.run(id=sys.argv[1]) as run:
    found = run.invoke("balance", {"account": "a-1"}).result
    print(json.dumps({"agent": client.agent, "user": run.user, "result": found}), flush=True)
    if len(sys.argv) > 2:
        print(json.dumps(run.invoke("pay", {"order": sys.argv[1], "cents": 9000}, wait=30).result), flush=True)
"""
POLICIES = """
@id("granted")
permit (principal, action, resource);

@id("large-payment")
@ask("finance")
@why("payments over $50 need a person")
forbid (principal, action == Action::"tool.invoke", resource == Tool::"pay")
when { context has amount && context.amount > 5000 };
"""


class Ledger(Protocol):
    def payments(self, name: str) -> int: ...


Run = Callable[..., subprocess.CompletedProcess[str]]
Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(("DOMINIE_", "OPENAI_"))}


@pytest.fixture(scope="module")
def run(system: System, dominie_command: str, surroundings: dict[str, str]) -> Run:
    """A `dominie …` command in the project; what came of it."""
    folder = system.plan.folder
    (folder / "with_openai.py").write_text(OPENAI)
    (folder / "with_dominie.py").write_text(AGENT)

    def run(*words: str, cwd: Path = folder) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [dominie_command, *words], cwd=cwd, env=surroundings, capture_output=True, text=True, timeout=TIMEOUT_S
        )

    return run


@pytest.fixture(scope="module")
def ask(run: Run) -> Ask:
    """A command's one JSON object."""

    def ask(*words: str) -> dict[str, Any]:
        done = run(*words, "--json")
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout)
        assert isinstance(found, dict)
        return found

    return ask


def test_a_program_that_speaks_openai(run: Run, ask: Ask, system: System) -> None:
    done = run("exec", "--name", "openai", "--", sys.executable, "with_openai.py", "somebody")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["said"].startswith("You said: hello from somebody")
    assert found["base"] == f"{system.gateway_url}/v1"
    assert {entry["type"] for entry in ask("audit", "search", "--agent", "openai")["entries"]} >= {"model.finished.v1"}
    request = urllib.request.Request(f"{found['base']}/models", headers={"authorization": f"Bearer {found['key']}"})
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=30)
    refused.value.close()
    assert refused.value.code == 401


def test_a_program_that_speaks_dominie(run: Run, ask: Ask) -> None:
    done = run("exec", "--user", "dana", "--", sys.executable, "with_dominie.py", "run-exec")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"agent": "a-with_dominie", "user": "u-dana", "result": 3}
    entries = ask("trace", "run-exec")["entries"]
    assert [entry["type"] for entry in entries if entry["type"].startswith("tool.")] == [
        "tool.requested.v1",
        "tool.decided.v1",
        "tool.finished.v1",
    ]
    assert {(entry["agent"], entry["user"]) for entry in entries} == {("a-with_dominie", "u-dana")}
    assert "run-exec" in {found["run"] for found in ask("ps")["runs"]}
    found = ask("audit", "search", "--run", "run-exec", "--tool", "balance", "--decision", "allow")
    assert found["entries"]
    principals = {found["principal"] for found in ask("agent", "list")["principals"]}
    assert principals >= {"a-with_dominie", "w-tools", "u-dev", "u-finance"}


@pytest.mark.parametrize(
    ("program", "code"),
    [("raise SystemExit(7)", 7), ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 128 + signal.SIGKILL)],
)
def test_its_exit_code_is_the_programs(run: Run, program: str, code: int) -> None:
    assert run("exec", "--name", "ends", "--", sys.executable, "-c", program).returncode == code


def test_a_person_says_yes_from_the_command_line(
    ask: Ask, system: System, ledger: Ledger, dominie_command: str, surroundings: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "policies.cedar").write_text(POLICIES)
    checked = ask("policy", "check", str(tmp_path))
    assert (checked["ok"], checked["policies"], checked["errors"]) == (True, 2, [])
    assert ask("policy", "publish", str(tmp_path))["changed"] is True
    assert ask("policy", "publish", str(tmp_path))["changed"] is False
    program = [sys.executable, "with_dominie.py", "run-asking", "pay"]
    with subprocess.Popen(
        [dominie_command, "exec", "--", *program],
        cwd=system.plan.folder,
        env=surroundings,
        stdout=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stdout is not None
        assert json.loads(agent.stdout.readline())["result"] == 3
        assert program in [found["command"] for found in ask("ps")["processes"]]
        waiting: list[dict[str, Any]] = []
        while not waiting:
            waiting = ask("approvals", "list")["approvals"]
        action = waiting[0]["action"]
        shown = ask("approvals", "show", action[:12])
        assert shown["arguments"] == {"order": "run-asking", "cents": 9000} and shown["status"] == "pending"
        assert ledger.payments("run-asking") == 0
        assert ask("approvals", "approve", action[:12])["decision"] == "grant"
        assert json.loads(agent.stdout.readline()) == "paid 9000 for run-asking"
        assert agent.wait(TIMEOUT_S) == 0
    assert ledger.payments("run-asking") == 1
    assert ask("approvals", "list") == {"approvals": [], "more": 0}
    assert [found["action"] for found in ask("approvals", "list", "--all")["approvals"]] == [action]


def test_status_and_the_log(ask: Ask) -> None:
    status = ask("status")
    assert status["healthy"] is True
    assert ask("audit", "verify")["ok"] is True
    assert ask("tool", "list")["tools"]
    assert ask("version")


@pytest.mark.parametrize(
    "words",
    [
        ["trace", "nosuch"],
        ["approvals", "show", "nosuch"],
        ["approvals", "approve", "nosuch", "--as", "nobody"],
        ["approvals", "enrol", "a-desk", "--group", "finance"],
        ["approvals", "enrol", "gil", "--group", "finance", "--nkey", "none"],
        ["approvals", "enrol", "gil"],
        ["agent", "revoke", "nosuch"],
        ["agent", "key", "not a name"],
        ["policy", "check", "nosuch"],
        ["policy", "publish", "."],
        ["worker", "nosuch.py"],
        ["exec", "--", "no-such-program"],
        ["serve", "nosuch"],
        ["audit", "search", "--decision", "perhaps"],
    ],
    ids=" ".join,
)
def test_what_goes_wrong_is_said_and_is_no_traceback(run: Run, words: list[str]) -> None:
    done = run(*words)
    assert done.returncode in (1, 2), done
    assert done.stdout == "" and done.stderr.strip()
    assert "Traceback" not in done.stderr and "unexpected" not in done.stderr


@pytest.mark.parametrize("words", [["ps"], ["status"], ["audit", "verify"], ["exec", "--", "true"], ["down"]])
def test_where_nothing_is_set_up_it_says_what_to_do(run: Run, words: list[str], tmp_path: Path) -> None:
    done = run(*words, cwd=tmp_path)
    assert done.returncode == 1 and done.stdout == ""
    assert "dominie up" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / ".dominie").exists()
