"""One call of a tool in a box of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import asdict

import anyio
from anyio.abc import Process

from dominie_tool.sandbox.box import Box, open_box
from dominie_tool.sandbox.command import layers
from dominie_tool.sandbox.values import Host, Limits, Outcome, SandboxUnavailable
from dominie_tool.sandbox.verdict import READY, Heard, answered, verdict

_CHUNK = 65536
_KEPT = 2000
_WORDS = len(READY)


Open = Callable[[Host, Limits], AbstractAsyncContextManager[Box]]


async def call(host: Host, limits: Limits, work: Mapping[str, object], boxes: Open = open_box) -> Outcome:
    """Run one function.

    Args:
        host: What to build the box with.
        limits: Its bounds.
        work: `source`, `function`, `arguments` and `context`.
        boxes: Where the box comes from.

    Raises:
        SandboxUnavailable: The box did not start.
        TypeError: The work is not JSON.
        ValueError: The work is not JSON.
    """
    given = json.dumps({**work, "limits": asdict(limits)}, allow_nan=False).encode()
    ears = _Ears(boxes, limits.output_bytes + _WORDS)
    async with anyio.create_task_group() as tasks:  # cancelled from outside in whatever way, it waits for the box's end
        tasks.start_soon(ears.attend, host, limits, given)
    return verdict(ears.heard(), limits, layers(host))


class _Ears:
    """Hears what comes out of a box, up to a number of bytes."""

    def __init__(self, boxes: Open, limit: int) -> None:
        self._boxes = boxes
        self._left = limit
        self._result = bytearray()
        self._printed = b""
        self._code: int | None = None
        self._starved = False
        self._timed_out = False
        self._fault: OSError | None = None

    async def attend(self, host: Host, limits: Limits, given: bytes) -> None:
        """Start a box, and hear it out until the time is up."""
        with anyio.move_on_after(limits.time_s) as clock:
            try:
                async with self._boxes(host, limits) as box:
                    await self._listen(box, given)
            except OSError as fault:
                self._fault = fault
        self._timed_out = clock.cancelled_caught

    def heard(self) -> Heard:
        """All of it.

        Raises:
            SandboxUnavailable: The box did not start.
        """
        if self._fault is not None:
            raise SandboxUnavailable(f"the box did not start: {self._fault}") from self._fault
        overflowed = self._left < 0
        return Heard(bytes(self._result), self._printed, self._code, overflowed, self._starved, self._timed_out)

    async def _listen(self, box: Box, given: bytes) -> None:
        """Hand the work in, and hear until it has answered, has ended or said too much."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_feed, box.process, given)
                tasks.start_soon(self._hear_prints, box.prints, tasks.cancel_scope)
                await self._hear_result(box.result)
                tasks.cancel_scope.cancel()
            self._drain(box.prints)
            if not self._complete():
                self._code = await box.process.wait()
        finally:
            self._starved = not self._complete() and box.cgroup is not None and box.cgroup.starved()

    def _complete(self) -> bool:
        return self._left < 0 or answered(bytes(self._result))

    async def _hear_prints(self, prints: int, scope: anyio.CancelScope) -> None:
        await anyio.wait_readable(prints)
        while data := os.read(prints, _CHUNK):
            self._take_print(data)
            if self._left < 0:
                scope.cancel()
            await anyio.wait_readable(prints)

    async def _hear_result(self, result: int) -> None:
        """It was all printed before it answers, so whatever it printed is there then."""
        await anyio.wait_readable(result)
        while self._left >= 0 and (data := os.read(result, _CHUNK)):
            self._result += data
            self._left -= len(data)
            if data.endswith(b"\n") and answered(bytes(self._result)):
                return
            await anyio.wait_readable(result)

    def _drain(self, prints: int) -> None:
        """Hear what was printed before the answer, and is still on its way."""
        with suppress(BlockingIOError):
            while self._left >= 0 and (data := os.read(prints, _CHUNK)):
                self._take_print(data)

    def _take_print(self, data: bytes) -> None:
        self._printed = (self._printed + data)[-_KEPT:]
        self._left -= len(data)


async def _feed(process: Process, given: bytes) -> None:
    assert process.stdin is not None
    try:
        await process.stdin.send(given)
        await process.stdin.aclose()
    except (anyio.BrokenResourceError, anyio.ClosedResourceError, ConnectionError):
        pass  # it ended before it had read all
