"""What a person said stands in no log of the house, whatever goes wrong with it; the agent is told all of it."""

import json
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path

import pytest

import dominie
from dominie_contracts.digests import action_id
from dominie_contracts.tool import TOOL
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(120)
SERVICES = ("identity", "guardrail", "scheduler", "model", "tool", "memory", "gateway")
SAID = "Dana Whitlock lives at 17 Gooseberry Lane"
TOOLS = """
import dominie

@dominie.tool(effect="read")
def look_up(name: str) -> str:
    print("looking for", name, flush=True)
    raise KeyError(name)
"""


@pytest.fixture
def system(tmp_path: Path) -> Iterator[System]:
    (tmp_path / "project").mkdir()
    environment = {"DOMINIE_LOG_LEVEL": "debug"}
    with System(tmp_path / "project", keys=tmp_path / "keys", services=SERVICES, environment=environment) as found:
        (found.plan.folder / "tools.py").write_text(TOOLS)
        command = [str(Path(sys.executable).with_name("dominie")), "tool", "add", "tools.py"]
        subprocess.run(command, cwd=found.plan.folder, capture_output=True, timeout=60, check=True)
        yield found


def lines(system: System, service: str) -> list[dict[str, str]]:
    """What a service has logged."""
    text = (system.state.path / "log" / f"{service}.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def refused(call: Callable[[], object]) -> dominie.Problem:
    with pytest.raises(dominie.Problem) as caught:
        call()
    return caught.value


def posted(system: System, body: bytes) -> bytes:
    """What the gateway answers to a request that does not fit."""
    assert system.gateway_url is not None
    head = {"authorization": f"Bearer {SAID.encode().hex()}", "content-type": "application/json"}
    request = urllib.request.Request(f"{system.gateway_url}/v1/chat/completions", data=body, headers=head)
    with pytest.raises(urllib.error.HTTPError) as caught, urllib.request.urlopen(request, timeout=30):
        pass
    with caught.value as answer:
        return answer.read()


def test_what_went_wrong_is_told_to_the_agent_and_to_no_log(system: System) -> None:
    with chdir(system.plan.folder), dominie.Client("desk") as client, client.run(user="dana") as run:
        problems = [
            refused(lambda: run.invoke("look_up", {"name": [SAID]}, key="one")),
            refused(lambda: run.invoke("look_up", {"name": "x", SAID: 1})),
            refused(lambda: run.invoke("look_up", {"name": SAID}, key="two")),
            refused(lambda: run.invoke("look_up", {"name": f"{SAID}."}, key="two")),
            refused(lambda: run.remember(SAID, namespace="another")),
        ]
        tenant, agent = client.tenant, client.agent
    posted(system, json.dumps({"model": "auto", "messages": [{"role": SAID, "content": [SAID]}], SAID: 1}).encode())
    assert [SAID in problem.detail for problem in problems[:3]] == [False, False, True], (
        "a tool's own words, no schema's"
    )

    logs = sorted(path for path in (system.state.path / "log").iterdir() if path.is_file())
    assert {f"{name}.log" for name in (*SERVICES, "up", "nats")} <= {path.name for path in logs}
    for word in ("Whitlock", "Gooseberry"):
        assert [path.name for path in logs if word.encode() in path.read_bytes()] == []
    told = [line for line in lines(system, "tool") if line["event"] == "edge.problem"]
    assert [line["type"] for line in told] == [problem.type for problem in problems[:4]]
    assert all(len(line["action"]) > 16 and len(line["digest"]) == 16 for line in told)
    assert told[2]["action"] == told[3]["action"] != action_id(tenant, agent, TOOL, "two")
    assert len({line["digest"] for line in told}) == 4
