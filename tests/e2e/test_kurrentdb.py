"""The whole house on a KurrentDB: here on the double of its protocol, in a process of its own."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dominie_kit.house.state import StateFolder

DOUBLE = Path(__file__).parents[2] / "eventstore" / "tests" / "kurrentdb_double.py"
AGENT = """
import dominie

with dominie.Client().run(id="on-kurrentdb", user="dana") as run:
    run.chat([{"role": "user", "content": "Where is order A1?"}])
    run.remember("prefers e-mail")
    run.reply("Done.")
"""
pytestmark = pytest.mark.timeout(180)
Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a database."""
    with subprocess.Popen([sys.executable, DOUBLE], stdout=subprocess.PIPE, text=True) as double:
        assert double.stdout is not None
        try:
            yield f"kurrentdb://u-secret:p-secret@127.0.0.1:{double.stdout.readline().strip()}?tls=false"
        finally:
            double.kill()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kurrentdb") / "project"
    folder.mkdir()
    (folder / "agent.py").write_text(AGENT)
    return folder


@pytest.fixture(scope="module")
def run(project: Path, dominie_command: str) -> Command:
    """A command in the project."""
    surroundings = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [dominie_command, *arguments], cwd=project, env=surroundings, capture_output=True, text=True, timeout=90
        )

    return command


@pytest.fixture(scope="module")
def up(run: Command, project: Path, store: str) -> Iterator[dict[str, object]]:
    """All of it, as `dominie up --store …` starts it."""
    started = run("up", "--detach", "--json", "--keys", str(project.parent / "keys"), "--store", store)
    assert started.returncode == 0, started.stderr
    try:
        yield json.loads(started.stdout)
    finally:
        assert run("down").returncode == 0


def test_a_governed_run_is_kept_there(run: Command, up: dict[str, object]) -> None:
    ran = run("exec", "--", sys.executable, "agent.py")
    assert ran.returncode == 0, ran.stderr

    trail = run("trace", "on-kurrentdb", "--json").stdout
    report = json.loads(run("audit", "verify", "--json").stdout)

    assert {"model.requested.v1", "memory.requested.v1", "judge.requested.v1"} <= set(re.findall(r"[a-z.]+v1", trail))
    assert report["ok"]
    assert report["events"] > 10
    assert report["checkpoint"] is not None


def test_the_bus_keeps_none_of_it(up: dict[str, object], project: Path) -> None:
    assert [found for found in (project / ".dominie" / "nats").rglob("meta.inf") if "EVENTS" in str(found)] == []


def test_a_service_that_is_killed_reads_on_there(run: Command, up: dict[str, object], project: Path) -> None:
    found = StateFolder(project).up().services["audit"]
    os.kill(found.pid, signal.SIGKILL)

    deadline = time.monotonic() + 30
    while (now := StateFolder(project).up().services["audit"]).pid == found.pid or not now.ready:
        assert time.monotonic() < deadline, now
        time.sleep(0.05)

    assert json.loads(run("audit", "verify", "--json").stdout)["ok"]


def test_status_says_which_store_and_no_password(
    run: Command, up: dict[str, object], store: str, project: Path
) -> None:
    place = f"kurrentdb://{store.rpartition('@')[2].partition('?')[0]}"

    assert json.loads(run("status", "--json").stdout)["store"] == up["store"] == place
    assert [path for path in project.rglob("*") if path.is_file() and b"p-secret" in path.read_bytes()] == []


def test_in_this_folder_it_stays_the_store(up: dict[str, object], run: Command, project: Path, store: str) -> None:
    """What was read from one log means nothing in another."""
    up_again = ("up", "--detach", "--json", "--keys", str(project.parent / "keys"))
    run("down")

    refused = run(*up_again)
    accepted = run(*up_again, "--store", store)

    assert (refused.returncode, refused.stdout) == (1, "")
    assert "comes from the event store 'kurrentdb://" in refused.stderr
    assert accepted.returncode == 0, accepted.stderr
    assert json.loads(run("audit", "verify", "--json").stdout)["ok"]


def test_an_empty_place_is_said_at_once(run: Command, tmp_path: Path, free_tcp_port: int) -> None:
    away = run(
        "up", "--detach", "--folder", str(tmp_path), "--store", f"kurrentdb://127.0.0.1:{free_tcp_port}?tls=false"
    )

    assert away.returncode == 1
    assert "does not answer" in away.stderr
    assert list(tmp_path.iterdir()) == []
