"""Calls of registered tools, and waiting for a person where one has to say yes."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal, TypeVar

from pydantic import JsonValue

from dominie._asker import Asker
from dominie._keys import Step, plain
from dominie_contracts import ApprovalRequired, Invalid
from dominie_contracts.tool import InvokeTool, ToolResult

T = TypeVar("T")
Wait = Literal["raise"] | float
"""Where a person must say yes first: raise `ApprovalRequired`, or wait for so many seconds."""
POLL_S = 1.0


class Invoking:
    """The tool calls of one run."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._asked: dict[str, Callable[[], Awaitable[ToolResult]]] = {}

    async def invoke(
        self,
        tool: str,
        arguments: Mapping[str, JsonValue],
        step: Step,
        wait: Wait,
        timeout_s: float | None,
        references: Mapping[str, str] | None = None,
    ) -> ToolResult:
        """See `AsyncRun.invoke`."""
        artifacts = self._asker.artifacts
        with step as key:
            sent = await artifacts.arguments_out(dict(arguments))
            command = InvokeTool(tool=tool, arguments=sent, references=dict(references or {}))

            async def once() -> ToolResult:
                reply = await self._asker.ask(command, ToolResult, key=key, resource=tool, timeout_s=timeout_s)
                return reply.model_copy(update={"result": await artifacts.back(reply.result)})

            return await self.answered(once, wait)

    async def answered(self, once: Callable[[], Awaitable[T]], wait: Wait) -> T:
        """Do something again and again until a person has answered, or the wait is over."""
        until_s = time.monotonic() + (0.0 if wait == "raise" else wait)
        while True:
            try:
                return await once()
            except ApprovalRequired as asked:
                action = asked.extra.get("action")
                if isinstance(action, str):
                    self._asked[action] = once  # type: ignore[assignment]  # only tool calls are waited for by id
                left_s = until_s - time.monotonic()
                if left_s <= 0:
                    raise
            await asyncio.sleep(min(POLL_S, left_s))

    async def wait_approval(self, action: str, timeout_s: float) -> ToolResult:
        """See `AsyncRun.wait_approval`."""
        if action not in self._asked:
            raise Invalid(f"this run waits for no action {action!r}; call the tool again with the same key")
        return await self.answered(self._asked[action], timeout_s)

    def step(self, what: str, value: Mapping[str, JsonValue], key: str | None, tool_call_id: str | None) -> Step:
        """The step of a call: by its key, its framework's id, or what it asks."""
        if key is not None:
            return Step(plain(key))
        steps = self._asker.steps
        return steps.call(tool_call_id) if tool_call_id is not None else steps.take(what, value)
