"""The program inside the box: one call of one tool function. Standard library only; nothing of the host is here.

It reads one JSON object from standard input and answers on the descriptor that its first argument names, so that
what the tool prints cannot be taken for a result: a line `waiting` as soon as it can be given a call, a line `ready`
once the limits hold, then one line of JSON.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import resource
import select
import sys
import types

TYPE_CHECKING = False  # importing typing, traceback, inspect and asyncio would take twice as long as all the rest
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from typing import Any

_SOURCE_NAME = "<tool>"
PROXY_PORT = 3128
_USUAL = """
ast asyncio base64 collections contextlib csv dataclasses datetime decimal functools hashlib io itertools linecache math
random re statistics string tempfile textwrap traceback typing
""".split()
"""What many tools import, ready in a box that waits."""


class ToolContext:
    """What a tool may know about its call; which attributes there are is for the caller of the sandbox to say."""

    def __init__(self, fields: Mapping[str, object]) -> None:
        self.__dict__.update(fields)


def tool(function: Callable[..., object] | None = None, /, **_: object) -> object:
    """`dominie.tool`, bare or with arguments: here it only returns the function."""
    return tool if function is None else function


def _missing(name: str) -> object:
    raise AttributeError(f"in the sandbox, dominie has tool and ToolContext, not {name!r}")


def _shim() -> types.ModuleType:
    """The `dominie` that a tool imports."""
    module = types.ModuleType("dominie", "What a sandboxed tool has of Dominie.")
    module.__dict__.update(tool=tool, ToolContext=ToolContext, __getattr__=_missing)
    return module


def _limit(limits: Mapping[str, float]) -> None:
    """Bound this process and its children; hard limits, which nothing in here can raise again."""
    cpu_s = math.ceil(limits["time_s"]) + 1
    memory = int(limits["memory_mb"]) << 20
    bounds = {
        resource.RLIMIT_AS: memory,
        resource.RLIMIT_CPU: cpu_s,
        resource.RLIMIT_FSIZE: int(limits["scratch_mb"]) << 20,
        resource.RLIMIT_NOFILE: 256,
        resource.RLIMIT_NPROC: int(limits["processes"]) + 1,  # the box's own first process counts as well
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 0,
    }
    for which, bound in bounds.items():
        resource.setrlimit(which, (bound, bound))


def _load(source: str, name: str) -> Callable[..., object]:
    sys.modules["dominie"] = _shim()
    module = sys.modules["tool"] = types.ModuleType("tool")
    exec(compile(source, _SOURCE_NAME, "exec", dont_inherit=True), module.__dict__)
    function = module.__dict__.get(name)
    if not callable(function):
        raise LookupError(f"the source has no function {name!r}")
    return function  # type: ignore[no-any-return]  # it was found by name


def _call(function: Callable[..., object], arguments: Mapping[str, object], context: Mapping[str, object]) -> object:
    wanted = (ToolContext, "ToolContext", "dominie.ToolContext")
    annotations: Mapping[str, object] = getattr(function, "__annotations__", {})
    given = {name: ToolContext(context) for name, kind in annotations.items() if kind in wanted and name != "return"}
    value = function(**arguments, **given)
    return _run(value) if hasattr(value, "__await__") else value


def _run(value: Awaitable[object]) -> object:
    import asyncio

    async def awaited() -> object:
        return await value

    return asyncio.run(awaited())


def _encode(value: object) -> bytes:
    try:
        return json.dumps({"value": value}, allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as fault:
        raise TypeError(f"the result is not JSON: {fault}") from None


def _explain(error: BaseException) -> str:
    """`KeyError: 'x' (line 3)`: the error and the last line of the tool's own source that led to it."""
    import traceback

    said = "".join(traceback.format_exception_only(error)).strip()
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _SOURCE_NAME]
    return f"{said} (line {lines[-1]})" if lines else said


def _answer(work: Mapping[str, Any]) -> bytes:
    try:
        return _encode(_call(_load(work["source"], work["function"]), work["arguments"], work["context"]))
    except MemoryError:
        return b'{"memory": true}'
    except BaseException as error:  # SystemExit too: whatever ends the tool is its answer
        return json.dumps({"error": _explain(error)}).encode()


def _hand_out(network: int) -> None:
    """Listen on the box's own loopback for somebody outside, who answers there from now on; nobody in here does."""
    import socket

    listener = socket.create_server(("127.0.0.1", PROXY_PORT), backlog=64)
    with socket.socket(fileno=network) as line:
        socket.send_fds(line, [b"!"], [listener.fileno()])
    listener.close()


def main() -> None:
    """Do the work that standard input describes."""
    result = int(sys.argv[1])
    for network in sys.argv[2:]:
        _hand_out(int(network))
    if not select.select([0], [], [], 0)[0]:
        for name in _USUAL:
            importlib.import_module(name)
    _write(result, b"waiting\n")
    work = json.load(sys.stdin)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.update(work.get("environment", {}))
    _limit(work["limits"])
    _write(result, b"ready\n")
    answer = _answer(work)
    _flush()
    _write(result, answer + b"\n")
    os._exit(0)  # whatever threads the tool left, and without its exit handlers


def _flush() -> None:
    """All it printed counts, so that is out before the answer; what it put in place of its streams may raise."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        return


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


if __name__ == "__main__":
    main()
