"""`dominie up | down | status | serve | provision | policy`: one JSON object, or one readable line."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie_kit.commands import register
from dominie_kit.house.broker import EmbeddedBroker
from dominie_kit.house.plan import Plan
from dominie_kit.house.system import System
from dominie_kit.keys.folder import KeyFolder

GOOD = '@id("reads") permit(principal, action == Action::"tool.invoke", resource) when { context.effect == "read" };'


@pytest.fixture(autouse=True)
def nothing_given(tmp_path: Path) -> Iterator[None]:
    """No variable of ours goes into a test or, as `serve` sets some, comes out of one."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
    with patch.dict(os.environ, {**others, "XDG_STATE_HOME": str(tmp_path / "state")}, clear=True):
        yield


def dominie(*arguments: object) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def line(result: Result) -> str:
    """The one line that a command which failed has said."""
    assert result.exit_code == 1, result.output
    assert result.stdout == ""
    (only,) = result.stderr.splitlines()
    return only


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    code = (
        "import sys, dominie_kit.commands; print([m for m in sys.modules if m.split('.')[0] in ('nats', 'pydantic')])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30).stdout == "[]\n"


@pytest.mark.parametrize("command", [["status"], ["down"], ["serve", "tool"], ["provision"], ["status", "--json"]])
def test_where_nothing_runs_they_say_so(tmp_path: Path, command: list[str]) -> None:
    assert "`dominie up` starts it" in line(dominie(*command, "--folder", tmp_path))


def test_up_becomes_its_supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    became: list[list[str]] = []

    def execv(_: str, command: list[str]) -> None:
        became.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    monkeypatch.chdir(tmp_path)
    assert dominie("up", "--port", 4333, "--json").exit_code == 0
    plan = Plan.model_validate_json(became[0][-1])
    assert (plan.folder, plan.port, plan.report, plan.rights_s) == (tmp_path, 4333, True, 300)
    assert not plan.keys.is_relative_to(tmp_path / "project")


def test_up_refuses_a_folder_without_policies_at_once(tmp_path: Path) -> None:
    assert ".cedar" in line(dominie("up", "--folder", tmp_path, "--policies", tmp_path))


def test_status_shows_each_process_and_the_sum(tmp_path: Path) -> None:
    environment = {"PYTHONPATH": str(Path(__file__).parent)}
    system = System(
        tmp_path,
        services=("tool",),
        keys=tmp_path / "keys",
        environment=environment,
        runner="dummies:main",
        preload="dummies",
    )
    with system:
        found = dominie("status", "--folder", tmp_path, "--json")
        told = dominie("status", "--folder", tmp_path)
    status = json.loads(found.stdout)
    assert found.exit_code == told.exit_code == 1
    assert status["parts"]["tool"]["health"] == "starting"
    assert status["parts"]["broker"]["health"] == status["parts"]["supervisor"]["health"] == "ready"
    assert status["rss_mb"] == pytest.approx(sum(part["rss_mb"] for part in status["parts"].values()), abs=0.5)
    assert {"tool", "broker", "supervisor", "all"} <= set(told.stdout.split())


def test_serve_names_the_key_that_is_missing(tmp_path: Path) -> None:
    assert "tool.json" in line(dominie("serve", "tool", "--nats-url", "nats://127.0.0.1:1", "--keys", tmp_path))


def test_serve_names_what_is_not_installed(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path).create(["nothing"])
    assert "no service 'nothing'" in line(
        dominie("serve", "nothing", "--nats-url", "nats://127.0.0.1:1", "--keys", keys.path)
    )


def test_provision_makes_the_stream_and_may_be_repeated(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path / "keys").create()
    with EmbeddedBroker(keys, tmp_path) as broker:
        for _ in range(2):
            done = dominie("provision", "--nats-url", broker.url, "--keys", keys.path, "--json")
            assert json.loads(done.stdout) == {"stream": "EVENTS_0", "replicas": 1}


def test_a_broker_that_is_away_is_one_line(tmp_path: Path) -> None:
    keys = KeyFolder(tmp_path).create()
    given = ("--nats-url", "nats://127.0.0.1:1", "--keys", keys.path)
    assert "No broker at" in line(dominie("provision", *given))
    assert "No broker at" in line(dominie("status", *given))


def test_good_policies_fit(tmp_path: Path) -> None:
    (tmp_path / "a.cedar").write_text(GOOD)
    assert json.loads(dominie("policy", "check", tmp_path, "--json").stdout) == {
        "ok": True,
        "policies": 1,
        "errors": [],
        "unknown_tools": [],
    }


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("permit(", "does not parse"),
        (GOOD.replace("effect", "colour"), "colour"),
        (GOOD.replace('@id("reads")', ""), "@id"),
        ("", "no policy"),
    ],
)
def test_a_bad_policy_is_named_with_its_file(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "bad.cedar").write_text(text)
    told, found = dominie("policy", "check", tmp_path), dominie("policy", "check", tmp_path, "--json")
    assert told.exit_code == found.exit_code == 1
    assert why in told.stderr and str(tmp_path) in told.stderr
    assert json.loads(found.stdout)["ok"] is False


def test_a_folder_without_policies_is_one_line(tmp_path: Path) -> None:
    assert "holds no policies" in line(dominie("policy", "check", tmp_path))
    assert "is no folder" in line(dominie("policy", "publish", tmp_path / "away"))
