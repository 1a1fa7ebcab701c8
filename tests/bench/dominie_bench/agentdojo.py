"""`dominie bench agentdojo`: real tasks with real tools, each call through the bus and on the record."""

import json
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from dominie_contracts.audit import Entries
from dominie_kit.house.system import System

PYTHON = Path(__file__).parents[1] / ".venv" / "bin" / "python"
"""The one that has AgentDojo."""
_SERVICES = ("identity", "guardrail", "tool", "audit")
_TRAIL = {"tool.requested.v1", "tool.decided.v1", "tool.finished.v1"}
_TIMEOUT_S = 240.0


def run(suite: str, say: Callable[[str], None]) -> dict[str, object]:
    """Play a suite; counts of tasks that passed and of calls with a full trail."""
    python = installed(say)
    with tempfile.TemporaryDirectory(prefix="dominie-dojo-") as folder:
        project = Path(folder) / "project"
        project.mkdir()
        with System(project, services=_SERVICES, keys=Path(folder) / "keys"):
            say(f"playing the ground truth of {suite}")
            played = _play(python, project, suite)
            trails = [_full_trails(project, task["run"]) for task in played["tasks"]]
    return {
        "suite": suite,
        "tasks": len(played["tasks"]),
        "utility_passed": sum(task["passed"] for task in played["tasks"]),
        "calls": sum(task["calls"] for task in played["tasks"]),
        "calls_with_full_trail": sum(trails),
    }


def installed(say: Callable[[str], None]) -> Path:
    """The Python that has AgentDojo; where none has, there is nothing to do."""
    if not PYTHON.exists():
        say("AgentDojo is not installed: `make bench-agentdojo` installs it in an environment of its own. Skipped.")
        raise typer.Exit(0)
    return PYTHON


def _play(python: Path, project: Path, suite: str) -> dict[str, Any]:
    done = subprocess.run(
        [str(python), "-m", "dominie_bench.dojo", suite],
        cwd=project,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT_S,
    )
    if done.returncode:
        raise RuntimeError(f"the agent failed:\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _full_trails(project: Path, run: str) -> int:
    """How many of a run's tool calls were requested, decided and finished, as the audit service tells it."""
    dominie = Path(sys.executable).parent / "dominie"
    done = subprocess.run(
        [str(dominie), "trace", run, "--json"], cwd=project, capture_output=True, text=True, check=True
    )
    streams: dict[str, set[str]] = defaultdict(set)
    for entry in Entries.model_validate({"entries": json.loads(done.stdout)["entries"]}).entries:
        streams[entry.stream].add(entry.type)
    return sum(types >= _TRAIL for types in streams.values())
