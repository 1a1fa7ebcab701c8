"""What a call in the sandbox costs, measured by the tool service's own package in a process of its own."""

import json
import subprocess
import sys

from dominie_contracts import Unavailable

_PROGRAM = "dominie_tool.sandbox.measure"


def run(calls: int) -> dict[str, object]:
    """Measure so many calls of each kind.

    Raises:
        Unavailable: There is no sandbox here.
    """
    done = subprocess.run([sys.executable, "-m", _PROGRAM, str(calls)], capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.splitlines() or ["the tool service is not installed"])[-1]
        raise Unavailable(f"{why} (`dominie doctor` says more)")
    found: dict[str, object] = json.loads(done.stdout)
    return found
