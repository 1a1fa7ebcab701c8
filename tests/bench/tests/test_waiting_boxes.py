"""The benchmark of the sandbox runs, and prints one JSON object alone."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dominie_tool.sandbox import Sandbox

DOMINIE = str(Path(sys.executable).parent / "dominie")
pytestmark = [
    pytest.mark.timeout(120),
    pytest.mark.skipif(Sandbox.missing() is not None, reason=f"NO SANDBOX IS TESTED HERE: {Sandbox.missing()}"),
]


def test_a_box_that_waited_is_there_sooner() -> None:
    command = [DOMINIE, "bench", "sandbox", "--calls", "10", "--json"]
    without = {**os.environ, "DOMINIE_TOOL_RUNSC": "/nowhere/runsc"}
    done = subprocess.run(command, env=without, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["backends"]
    assert list(found) == ["bubblewrap", "runsc", "wasmtime"]
    for figures in filter(None, found.values()):
        assert figures.keys() == {"cold_p50_ms", "warm_p50_ms", "warm_p99_ms"}
        assert 0 < figures["warm_p50_ms"] < figures["cold_p50_ms"]
    assert found["bubblewrap"] and found["runsc"] is None
    assert "runsc: '/nowhere/runsc' is not installed" in done.stderr


def test_the_doctor_prints_one_object() -> None:
    done = subprocess.run([DOMINIE, "doctor", "--json"], capture_output=True, text=True, timeout=110, check=False)
    found = json.loads(done.stdout)
    assert (
        found["healthy"]
        == (done.returncode == 0)
        == all(check["holds"] or not check["needed"] for check in found["checks"])
    )
    assert {"name", "holds", "found", "todo", "needed"} == found["checks"][0].keys()
    missing = subprocess.run(
        [DOMINIE, "doctor"], env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=110, check=False
    )
    assert missing.returncode == 1 and "bubblewrap is not installed" in missing.stdout
