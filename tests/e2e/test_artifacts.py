"""Values too large for a command: 5 MB go to a worker's tool and come back, and the record has what stands for them."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import chdir
from pathlib import Path

import pytest

import dominie
from dominie_kit.system import System

pytestmark = pytest.mark.timeout(180)
SERVICES = ("identity", "guardrail", "tool", "audit")
TOOLS = '''
import dominie


@dominie.tool(effect="external", idempotent=True, timeout_s=30)
def shout(text: str) -> str:
    """Say it louder."""
    return text.upper()


@dominie.tool(effect="read", timeout_s=30)
def rows(count: int) -> list[dict[str, int]]:
    """A long table."""
    return [{"row": number, "square": number * number} for number in range(count)]
'''
BIG = "a line of text about nobody in particular\n" * 120_000


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("system")
    (folder / "project").mkdir()
    with System(folder / "project", keys=folder / "keys", services=SERVICES) as found:
        yield found


@pytest.fixture(scope="module")
def project(system: System, dominie_command: str) -> Iterator[Path]:
    """The project's folder, with a worker that serves `shout` and `rows`."""
    folder = system.plan.folder
    (folder / "tools.py").write_text(TOOLS)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}
    with (folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            [dominie_command, "worker", "tools.py", "--json"], cwd=folder, env=clean, stdout=subprocess.PIPE, stderr=log
        )
    try:
        assert worker.stdout is not None
        assert json.loads(worker.stdout.readline())["worker"] == "w-tools", (folder / "worker.log").read_text()
        yield folder
    finally:
        worker.kill()
        worker.wait(10)
        assert worker.stdout is not None
        worker.stdout.close()


@pytest.fixture
def client(project: Path) -> Iterator[dominie.Client]:
    with chdir(project), dominie.Client("reader") as found:
        yield found


def test_five_megabytes_go_to_a_tool_and_come_back(client: dominie.Client) -> None:
    assert len(BIG) > 5_000_000
    with client.run(user="dana") as run:
        assert run.invoke("shout", {"text": BIG}).result == BIG.upper()
        assert run.invoke("rows", {"count": 100_000}).result == [{"row": n, "square": n * n} for n in range(100_000)]
