"""`dominie exec` and `dominie worker`, as processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dominie._exec import program_name
from dominie._processes import Process, living, record
from dominie.testing import House
from dominie_contracts import Grants
from dominie_contracts.identity import Done, PrincipalView, Register
from dominie_contracts.keys import ApiKey, IssueApiKey, RevokeApiKey
from dominie_contracts.tool import RegisteredTool, RegisterTool

TOOLS = """
import dominie

@dominie.tool(effect="read")
def lookup(order: str) -> str:
    return order

@dominie.tool(kind="sandboxed")
def add(a: int, b: int) -> int:
    return a + b
"""


def registered(command: Register, asked: object) -> PrincipalView:
    return PrincipalView(
        tenant="acme",
        principal=command.principal,
        nkey=command.nkey,
        sponsor="u-dev",
        grants=Grants(),
        users=(),
        groups=(),
        revoked=False,
    )


def dominie(*arguments: str, cwd: Path | None = None) -> "subprocess.Popen[str]":
    program = [sys.executable, "-c", "from dominie.cli import main; main()", *arguments]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)


PROGRAM = """
import json, os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(42))
print(json.dumps({k: v for k, v in os.environ.items() if k.startswith(("DOMINIE_", "OPENAI_"))}), flush=True)
if sys.argv[1:] == ["wait"]:
    signal.pause()
if sys.argv[1:] == ["die"]:
    os.kill(os.getpid(), signal.SIGKILL)
sys.exit(3)
"""


@pytest.fixture
def executing(project: Path, open_house: House) -> House:
    (project / "my_desk.py").write_text(PROGRAM)
    open_house.on(Register, registered)
    open_house.on(IssueApiKey, lambda command, asked: ApiKey(key="dk_1", id="k1"))
    open_house.on(RevokeApiKey, lambda command, asked: Done())
    return open_house


def test_exec_gives_an_identity_and_takes_the_key_back(project: Path, executing: House) -> None:
    with dominie("exec", "--", sys.executable, "my_desk.py") as process:
        out, err = process.communicate(timeout=30)
    found = json.loads(out)
    assert process.returncode == 3, err
    assert found["DOMINIE_PRINCIPAL"] == "a-my_desk" and found["DOMINIE_TENANT"] == "acme"
    assert found["DOMINIE_USER"] == "u-dev" and Path(found["DOMINIE_SEED_FILE"]).exists()
    assert (found["OPENAI_BASE_URL"], found["OPENAI_API_KEY"]) == ("http://localhost:1/v1", "dk_1")
    assert [a.command.id for a in executing.commands(RevokeApiKey)] == ["k1"]
    assert not list((project / ".dominie" / "agents").glob("*.json"))


def test_exec_hides_what_opens_the_keys_of_others(
    project: Path, executing: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    (given := project.parent / "passphrase").write_text("correct horse battery")
    given.chmod(0o600)
    for name in ("PASSPHRASE_FILE", "APPROVER_SEED_FILE", "KEYS", "SEED", "WORKLOAD_TOKEN_FILE"):
        monkeypatch.setenv(f"DOMINIE_{name}", str(given))
    program = "import os; print(*os.environ.items(), *map(os.readlink, os.scandir('/proc/self/fd')), sep='\\n')"
    with dominie("exec", "--", sys.executable, "-c", program) as process:
        out, err = process.communicate(timeout=30)
    assert "DOMINIE_SEED_FILE" in out, err
    assert str(given) not in out and "correct horse" not in out


def test_exec_hands_signals_on_and_is_seen(project: Path, executing: House) -> None:
    with dominie("exec", "--name", "desk", "--", sys.executable, "my_desk.py", "wait") as process:
        assert process.stdout is not None
        child = json.loads(process.stdout.readline())
        until_s = time.monotonic() + 10
        while not (found := living(project / ".dominie")) and time.monotonic() < until_s:
            time.sleep(0.01)
        assert [p.agent for p in found] == ["a-desk"] and child["DOMINIE_PRINCIPAL"] == "a-desk"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 42
    assert not living(project / ".dominie") and executing.commands(RevokeApiKey)


def test_exec_tells_of_a_signal_that_ended_it(project: Path, executing: House) -> None:
    with dominie("exec", "--", sys.executable, "my_desk.py", "die") as process:
        process.communicate(timeout=30)
    assert process.returncode == 128 + signal.SIGKILL


def test_exec_takes_back_what_a_killed_one_left(project: Path, executing: House) -> None:
    left = Process(agent="a-old", pid=os.getpid(), command=("x",), started="2026", born=1, key_id="k0")
    record(project / ".dominie", left)
    with dominie("exec", "--", "no-such-program") as process:
        _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == "dominie: Invalid request: 'no-such-program' cannot be run: No such file or directory\n"
    assert [a.command.id for a in executing.commands(RevokeApiKey)] == ["k0", "k1"]


def test_where_nothing_is_set_up_one_line_says_what_to_do(tmp_path: Path) -> None:
    with dominie("ps", cwd=tmp_path) as process:
        out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert len(err.splitlines()) == 1 and "dominie up" in err


def test_a_worker_says_what_it_serves_until_a_signal(project: Path, open_house: House) -> None:
    (project / "my_tools.py").write_text(TOOLS)
    open_house.on(Register, registered)
    open_house.on(RegisterTool, lambda c, asked: RegisteredTool(name=c.spec.name, version="1", changed=True))
    with dominie("worker", "my_tools.py", "--json") as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == {"worker": "w-my_tools", "tools": ["lookup"]}
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
    assert open_house.commands(RegisterTool)[0].subject.principal == "w-my_tools"


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "my agent.py", "-v"], "my-agent"),
        (["python", "-m", "desk", "x"], "desk"),
        (["./bin/desk"], "desk"),
        (["/usr/bin/???"], "agent"),
    ],
)
def test_a_program_has_a_name(command: list[str], name: str) -> None:
    assert program_name(command) == name
