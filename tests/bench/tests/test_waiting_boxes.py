"""The benchmark of the sandbox runs, and prints one JSON object alone."""

import json
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
    done = subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["backends"]["bubblewrap"]
    assert found.keys() == {"cold_p50_ms", "warm_p50_ms", "warm_p99_ms"}
    assert 0 < found["warm_p50_ms"] < found["cold_p50_ms"]


def test_where_there_is_no_sandbox_one_line_says_so() -> None:
    command = [DOMINIE, "bench", "sandbox", "--calls", "10", "--json"]
    done = subprocess.run(command, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=110, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "install the package 'bubblewrap'" in done.stderr and len(done.stderr.splitlines()) == 1


def test_the_doctor_prints_one_object() -> None:
    done = subprocess.run([DOMINIE, "doctor", "--json"], capture_output=True, text=True, timeout=110, check=False)
    found = json.loads(done.stdout)
    assert found["healthy"] == (done.returncode == 0) == all(check["holds"] for check in found["checks"])
    assert {"name", "holds", "found", "todo"} == found["checks"][0].keys()
    missing = subprocess.run(
        [DOMINIE, "doctor"], env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=110, check=False
    )
    assert missing.returncode == 1 and "bubblewrap is not installed" in missing.stdout
