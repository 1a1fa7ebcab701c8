"""Print the Python to install with: the first on PATH, or one of the same version that is built much better.

CPython built without profile-guided optimization, as version managers build it by default, takes some 1.4 times as
long for everything (decision 0017). So every `python3` on PATH is timed for a moment. Used by the Makefile, before
anything is installed; `make PYTHON=…` asks nobody.
"""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

WORTH_IT = 0.8
"""Another interpreter is taken if it needs less than this share of the first one's time."""
_PROBE = """
import ensurepip, sqlite3, ssl, sys, time, venv
if sys.version_info[:2] != (%d, %d): sys.exit(1)
class Point:
    def __init__(self, x, y): self.x, self.y = x, y
    def moved(self, by): return Point(self.x + by, self.y)
def work():
    begun, seen = time.perf_counter(), {}
    for number in range(20_000):
        seen[number & 255] = Point(number, "n%%d" %% number).moved(3).x
    return time.perf_counter() - begun
print(sys.executable, min(work() for _ in range(25)))
"""
_TIMEOUT_S = 10


def main() -> None:
    """Print the path; on standard error, why it is not the first one."""
    times = dict(measured())
    if not times:
        sys.exit("no python3 on PATH can make a virtual environment: install venv (on Debian: python3-venv)")
    first, chosen = next(iter(times)), choose(times)
    if chosen != first:
        faster = times[first] / times[chosen]
        print(
            f"Taking {chosen}: {faster:.1f} times as fast as {first}, which was built without optimizations.",
            file=sys.stderr,
        )
    print(chosen)


def choose(times: Mapping[str, float]) -> str:
    """The first one, unless the fastest is worth it."""
    first, fastest = next(iter(times)), min(times, key=lambda path: times[path])
    return fastest if times[fastest] < WORTH_IT * times[first] else first


def measured() -> Iterator[tuple[str, float]]:
    """Each usable interpreter of this one's version, and how long it took, the one that runs this first."""
    major, minor = sys.version_info[:2]
    seen: set[str] = set()
    for path in (sys.executable, *on_path(f"python{major}.{minor}"), *on_path("python3")):
        found = _probe(path, major, minor)
        if found is not None and os.path.realpath(found[0]) not in seen:
            seen.add(os.path.realpath(found[0]))
            yield found


def on_path(name: str) -> Iterator[str]:
    """Every program of this name on PATH."""
    for folder in os.get_exec_path():
        path = Path(folder, name)
        if path.is_file() and os.access(path, os.X_OK):
            yield str(path)


def _probe(path: str, major: int, minor: int) -> tuple[str, float] | None:
    command = (path, "-I", "-c", _PROBE % (major, minor))
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=True)
        executable, seconds = done.stdout.rsplit(maxsplit=1)
        return executable, float(seconds)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None


if __name__ == "__main__":
    main()
