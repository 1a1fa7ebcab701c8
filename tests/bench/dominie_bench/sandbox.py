"""What a call in the sandbox costs, measured by the tool service's own package in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Callable

from dominie_contracts import Unavailable

_PROGRAM = "dominie_tool.sandbox.measure"


def run(calls: int, say: Callable[[str], None]) -> dict[str, object]:
    """Measure so many calls of each kind in each back end; what this machine lacks is said, and null.

    Raises:
        Unavailable: The tool service is not installed, or a call failed.
    """
    done = subprocess.run([sys.executable, "-m", _PROGRAM, str(calls)], capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.splitlines() or ["the tool service is not installed"])[-1]
        raise Unavailable(f"{why} (`dominie doctor` says more)")
    for line in done.stderr.splitlines():
        say(line)
    found: dict[str, object] = json.loads(done.stdout)
    return found
