"""A run leaves the house in a file, and is checked where there is no house."""

import json
import os
import subprocess
from contextlib import chdir
from pathlib import Path
from typing import Any

import pytest

import dominie
from dominie_kit.house.system import System

TIMEOUT_S = 60.0
TOLD = b"model.requested.v1"
"""Of what was said itself a bundle holds only what it was sealed as."""


def surroundings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("DOMINIE_")}


@pytest.mark.timeout(120)
def test_a_bundle_is_checked_with_the_house_down_and_no_project(tmp_path: Path, dominie_command: str) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    project.mkdir()
    elsewhere.mkdir()

    def typed(*arguments: str, folder: Path = project, status: int = 0) -> str:
        done = subprocess.run(
            [dominie_command, "audit", *arguments],
            cwd=folder,
            env=surroundings(),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
        )
        assert done.returncode == status, done.stderr
        return done.stdout

    with System(project, keys=tmp_path / "keys"):
        run = _work(project)
        found = json.loads(typed("search", "--text", "peppermint where", "--json"))
        assert {entry["type"] for entry in found["entries"]} >= {"model.requested.v1"}
        assert {entry["run"] for entry in found["entries"]} == {run}
        typed("bundle", run, "--output", str(elsewhere / "bundle"))
        key = typed("checkpoint", "--key").strip()
        events = typed("export", "--run", run).splitlines()
    report = _report(typed("verify-bundle", "bundle", "--key", key, "--json", folder=elsewhere))
    assert report["ok"] and report["events"] == len(events) and report["whole"] == report["streams"] > 1
    lines = (elsewhere / "bundle").read_bytes().splitlines(keepends=True)
    (elsewhere / "bad").write_bytes(b"".join(line.replace(TOLD, TOLD.upper()) for line in lines))
    bad = _report(typed("verify-bundle", "bad", "--key", key, "--json", folder=elsewhere, status=1))
    first = next(number for number, line in enumerate(lines, 1) if TOLD in line)
    assert (bad["problem"], bad["line"]) == ("BadEvent", first)


def _work(project: Path) -> str:
    """A run of an agent; its id."""
    with chdir(project):
        client = dominie.Client("desk")
    with client, client.run(user="dana") as run:
        run.chat([{"role": "user", "content": "Where is the peppermint?"}])
        run.remember("prefers peppermint")
        run.reply("There.")
        return run.id


def _report(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found
