"""Runs sandboxed tools, a bounded number at once."""

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import anyio
from pydantic import JsonValue, TypeAdapter

from dominie_contracts import DeadlineExceeded, ToolFailed, Unavailable
from dominie_kit import Action, Context, NotDone
from dominie_tool.projection import Tool
from dominie_tool.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable
from dominie_tool.settings import Settings

Load = Callable[[dict[str, JsonValue], Context], Awaitable[dict[str, JsonValue]]]
"""Puts the artifacts of arguments in their places."""
_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class Boxes:
    """The sandboxes of this process."""

    def __init__(self, settings: Settings, load: Load) -> None:
        self._load = load
        self._limiter = anyio.Semaphore(settings.tool_sandboxes)
        self._sandbox = Sandbox(
            Limits(
                memory_mb=settings.tool_sandbox_memory_mb,
                processes=settings.tool_sandbox_processes,
                output_bytes=settings.tool_sandbox_output_bytes,
            ),
            waiting=settings.tool_sandboxes_waiting,
        )

    def open(self) -> AbstractAsyncContextManager[None]:
        """Have boxes waiting from the first call on, for as long as this is open."""
        return self._sandbox.open()

    def layers(self) -> tuple[str, ...]:
        """The layers that will hold a tool here; none where the sandbox cannot run."""
        return tuple(self._sandbox.layers()) if Sandbox.missing() is None else ()

    async def run(self, tool: Tool, arguments: dict[str, JsonValue], action: Action) -> JsonValue:
        """Run a tool in a box of its own.

        Raises:
            NotDone: This machine cannot isolate it, or its arguments did not come in time, so it was not run.
            ToolFailed: It failed, or went beyond its limits.
        """
        spec = tool.spec
        assert spec.source is not None and spec.function is not None
        async with self._limiter:
            try:
                given = await self._load(arguments, action.context)
                outcome = await self._sandbox.run(spec.source, spec.function, given, time_s=spec.timeout_s)
            except DeadlineExceeded as error:
                raise NotDone(error) from error
            except SandboxUnavailable as error:
                raise NotDone(Unavailable(f"sandboxed tools cannot run here: {error.reason}")) from error
        return _result(spec.name, outcome)


def _result(name: str, outcome: Outcome) -> JsonValue:
    if outcome.status != "ok":
        raise ToolFailed(f"{name}: {outcome.status}: {outcome.detail}")
    return _JSON.validate_python(outcome.value)
