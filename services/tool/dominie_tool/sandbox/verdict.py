"""What a run came to, from what was heard of it. Pure; and nothing that a tool wrote is taken on trust."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass

from dominie_tool.sandbox.crowds import MOST_PARTS, crowded
from dominie_tool.sandbox.values import Layer, Limits, Outcome, SandboxUnavailable

_DETAIL_LENGTH = 2000
_CPU_TIME_OVER = 128 + signal.SIGXCPU
READY = b"waiting\nready\n"


@dataclass(frozen=True, slots=True)
class Heard:
    """What was heard of a run.

    Attributes:
        result: What came on the result's descriptor.
        printed: The end of what it printed.
        code: The exit status, with 128 for a signal; None where it was ended from outside, as after its answer.
        overflowed: Whether it said too much.
        starved: Whether a process was killed for want of memory.
        timed_out: Whether the time was up.
    """

    result: bytes
    printed: bytes
    code: int | None
    overflowed: bool
    starved: bool
    timed_out: bool


def answered(result: bytes) -> bool:
    """Whether all of an answer was heard."""
    return result.startswith(READY) and len(result) > len(READY) and result.endswith(b"\n")


def verdict(heard: Heard, limits: Limits, layers: tuple[Layer, ...]) -> Outcome:
    """What the run came to.

    Raises:
        SandboxUnavailable: The box did not start.
    """
    if heard.overflowed:
        return Outcome("output", None, f"it printed and returned more than {limits.output_bytes} bytes", layers)
    if answered(heard.result):
        first, _, _ = heard.result[len(READY) :].partition(b"\n")  # of a tool that forked, each may have answered
        return _answered(first, limits, layers)
    if heard.starved:
        return _starved(limits, layers)
    if heard.timed_out or heard.code == _CPU_TIME_OVER:
        return Outcome("timeout", None, f"it took longer than {limits.time_s:g} s", layers)
    printed = heard.printed.decode(errors="replace").strip()
    if not heard.result.startswith(READY):
        raise SandboxUnavailable(f"the box did not start: {printed or 'without a word'} (exit status {heard.code})")
    detail = f"it ended before it returned ({_ending(heard.code)}); it had printed: {printed!r}"
    return Outcome("died", None, detail[:_DETAIL_LENGTH], layers)


def _answered(answer: bytes, limits: Limits, layers: tuple[Layer, ...]) -> Outcome:
    if crowded(answer):
        return _failed(f"its result has more than {MOST_PARTS:,} parts; return them as one text", layers)
    try:
        said = json.loads(answer)
        json.dumps(said, allow_nan=False, ensure_ascii=False).encode()  # no NaN, no half of a character
    except (ValueError, RecursionError):
        return _failed("its result cannot be read", layers)
    match said:
        case {"value": value}:
            return Outcome("ok", value, "", layers)
        case {"error": str(detail)}:
            return _failed(detail, layers)
        case {"memory": True}:
            return _starved(limits, layers)
        case _:
            return _failed("its result cannot be read", layers)


def _failed(detail: str, layers: tuple[Layer, ...]) -> Outcome:
    return Outcome("error", None, detail[:_DETAIL_LENGTH], layers)


def _starved(limits: Limits, layers: tuple[Layer, ...]) -> Outcome:
    return Outcome("memory", None, f"it needed more than {limits.memory_mb} MB", layers)


def _ending(code: int | None) -> str:
    return f"signal {code - 128}" if code is not None and code > 128 else f"exit status {code}"
