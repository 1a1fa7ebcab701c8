"""What a call in a box costs, with a box that waits and without: prints one JSON object (`dominie bench sandbox`)."""

from __future__ import annotations

import json
import statistics
import sys
import time

import anyio

from dominie_tool.sandbox import Outcome, Sandbox, SandboxUnavailable

_SOURCE = "def double(number):\n    return 2 * number\n"
_PATIENCE_S = 60.0


async def _call(sandbox: Sandbox) -> float:
    """How long one call takes, in milliseconds."""
    begun = time.perf_counter()
    outcome: Outcome = await sandbox.run(_SOURCE, "double", {"number": 21})
    if outcome.value != 42:
        raise SandboxUnavailable(f"a call came to {outcome.status}: {outcome.detail}")
    return (time.perf_counter() - begun) * 1000


async def measure(calls: int) -> dict[str, float]:
    """Time calls one after the other: each in a new box, then each in one that waited."""
    sandbox = Sandbox(waiting=1)
    await _call(sandbox)
    cold = [await _call(sandbox) for _ in range(calls)]
    async with sandbox.open():
        await _call(sandbox)
        warm = []
        for _ in range(calls):
            with anyio.fail_after(_PATIENCE_S):
                await sandbox.pool.one_waits()
            warm.append(await _call(sandbox))
    return {
        "cold_p50_ms": round(statistics.median(cold), 2),
        "warm_p50_ms": round(statistics.median(warm), 2),
        "warm_p99_ms": round(statistics.quantiles(warm, n=100)[98], 2),
    }


def main() -> None:
    """Measure as many calls as the first argument says."""
    if (missing := Sandbox.missing()) is not None:
        sys.exit(missing)
    print(json.dumps({"backends": {"bubblewrap": anyio.run(measure, int(sys.argv[1]))}}))


if __name__ == "__main__":
    main()
