"""A real MCP server over HTTP, made with the `mcp` package, through everything: mounted with a key, used, changed."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

import dominie
from dominie_kit.house.system import System
from dominie_tool.egress.testing import HOST, PUBLIC, Authority

pytestmark = pytest.mark.timeout(300)
SERVICES = ("identity", "guardrail", "tool", "audit")
HERE = Path(__file__).parent
KEY = "k3y-of-the-shop-0815"
URL = f"https://{HOST}/mcp"
ORDER, TOLD, CRASH = (f"mcp.orders.{each}" for each in ("order", "told", "crash"))
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("mcp-http")
    (found / "project").mkdir()
    (found / "words").write_text("Where an order is.")
    Authority(found).certificate(HOST)
    return found


@pytest.fixture(scope="module")
def port(folder: Path) -> Iterator[int]:
    """Where the server listens."""
    line = [sys.executable, *map(str, (HERE / "mcp_http_server.py", folder / f"{HOST}.pem", folder / "words")), KEY]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="module")
def system(folder: Path, port: int) -> Iterator[System]:
    names = {HOST: PUBLIC, "inside.example.org": "10.0.0.7", "bus.example.org": "127.0.0.1"}
    made = {"names": names, "ports": {PUBLIC: port}, "trusted": str(folder)}
    environment = {"MADE_INTERNET": json.dumps(made), "PYTHONPATH": str(HERE), "HTTPS_PROXY": "http://127.0.0.1:9"}
    keys = folder / "keys"
    with System(
        folder / "project", keys=keys, services=SERVICES, environment=environment, runner="made_internet:main"
    ) as found:
        yield found


@pytest.fixture(scope="module")
def cli(system: System, dominie_command: str) -> Cli:
    def run(*arguments: str, code: int = 0, given: str = "") -> Any:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
        done = subprocess.run(
            [dominie_command, *arguments],
            cwd=system.plan.folder,
            env=clean,
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout) if "--json" in arguments and code == 0 else done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def mounted(cli: Cli) -> Any:
    assert "401" in cli("mcp", "add", "orders", "--url", URL, code=1)
    cli("secret", "set", "SHOP_KEY", "--host", HOST, given=KEY)
    header = ("--header", "Authorization: Bearer {secret:SHOP_KEY}")
    return cli("mcp", "add", "orders", "--url", URL, *header, "--effect", "told=read", "--json")


@pytest.fixture(scope="module")
def run(system: System, mounted: Any) -> Iterator[dominie.Run]:
    with chdir(system.plan.folder), dominie.Client("desk") as client, client.run(user="dana", id="r-orders") as found:
        yield found


def test_a_server_is_used_with_its_key_which_nobody_sees(mounted: Any, run: dominie.Run, cli: Cli) -> None:
    assert [tool["name"] for tool in mounted["server"]["tools"]] == [CRASH, ORDER, TOLD]
    assert run.invoke(ORDER, {"number": "A1"}).result == {"result": "A1 is on its way"}
    told = run.invoke(TOLD, {}).result
    assert isinstance(told, dict) and told["authorization"] == "Bearer [secret]"
    sent = {"accept", "authorization", "connection", "content-length", "content-type", "host"}
    assert {name for name in told if not name.startswith("mcp-")} == sent
    trail = cli("trace", "r-orders", "--json")
    reached = [each for each in trail["entries"] if each["type"] == "tool.reached.v1"]
    assert len(reached) == 2 and KEY not in json.dumps(trail)
    assert [(each["host"], each["address"]) for each in reached[0]["data"]["hosts"]] == [(HOST, PUBLIC)]
