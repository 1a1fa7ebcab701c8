"""What a call in a box costs, with a box that waits and without: prints one JSON object (`dominie bench sandbox`)."""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import get_args

import anyio

from dominie_contracts.tool import Backend
from dominie_tool.sandbox import Outcome, Sandbox, SandboxUnavailable
from dominie_tool.settings import Settings

_PYTHON = "def _start():\n    return 42\n"
_WASM = """(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\\10\\00\\00\\00\\02\\00\\00\\00") (data (i32.const 16) "42")
  (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
"""
_PATIENCE_S = 60.0
Figures = dict[str, float]


async def _call(sandbox: Sandbox, source: str) -> float:
    """How long one call takes, in milliseconds."""
    begun = time.perf_counter()
    outcome: Outcome = await sandbox.run(source, "_start", {})
    if outcome.value != 42:
        raise SandboxUnavailable(f"a call came to {outcome.status}: {outcome.detail}")
    return (time.perf_counter() - begun) * 1000


async def measure(backend: Backend, runsc: str, calls: int) -> Figures:
    """Time calls one after the other: each in a new box, then each in one that waited."""
    sandbox, source = Sandbox(backend=backend, runsc=runsc, waiting=1), _WASM if backend == "wasmtime" else _PYTHON
    await _call(sandbox, source)
    cold = [await _call(sandbox, source) for _ in range(calls)]
    async with sandbox.open():
        await _call(sandbox, source)
        warm = []
        for _ in range(calls):
            with anyio.fail_after(_PATIENCE_S):
                await sandbox.pool.one_waits()
            warm.append(await _call(sandbox, source))
    return {
        "cold_p50_ms": round(statistics.median(cold), 2),
        "warm_p50_ms": round(statistics.median(warm), 2),
        "warm_p99_ms": round(statistics.quantiles(warm, n=100)[98], 2),
    }


def _measured(backend: Backend, runsc: str, calls: int) -> Figures | None:
    """The same; None, and a word on it, where this machine lacks the back end."""
    if (missing := Sandbox.missing(backend, runsc)) is not None:
        print(f"{backend}: {missing}", file=sys.stderr)
        return None
    return anyio.run(measure, backend, runsc, calls)


def main() -> None:
    """Measure as many calls as the first argument says, of each back end."""
    runsc = Settings().tool_runsc
    print(json.dumps({"backends": {each: _measured(each, runsc, int(sys.argv[1])) for each in get_args(Backend)}}))


if __name__ == "__main__":
    main()
