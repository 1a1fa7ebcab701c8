"""Runs sandboxed tools, a bounded number at once."""

from contextlib import AbstractAsyncContextManager
from dataclasses import replace

import anyio
from pydantic import JsonValue, TypeAdapter
from pydantic_core import to_json

from dominie_contracts import DeadlineExceeded, Forbidden, Invalid, ToolFailed, Unavailable
from dominie_contracts.tool import Profile, ToolSpec
from dominie_kit import Action, Context, NotDone
from dominie_tool.adapters.artifacts import Values
from dominie_tool.adapters.schemas import InputSchema
from dominie_tool.aggregate import beyond
from dominie_tool.projection import Tool
from dominie_tool.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable
from dominie_tool.settings import Settings

_JSON: TypeAdapter[JsonValue] = TypeAdapter(JsonValue)


class Boxes:
    """The sandboxes of this process."""

    def __init__(self, settings: Settings, values: Values) -> None:
        self._values = values
        self._limiter = anyio.Semaphore(settings.tool_sandboxes)
        self._limits = Limits(
            memory_mb=settings.tool_sandbox_memory_mb,
            processes=settings.tool_sandbox_processes,
            output_bytes=settings.tool_sandbox_output_bytes,
        )
        self._most = settings.most_of
        self._sandbox = Sandbox(self._limits, waiting=settings.tool_sandboxes_waiting)

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
        limits = self._bounds(tool)
        async with self._limiter:
            try:
                given = await self._values.load(arguments, action.context)
                outcome = await self._sandbox.run(spec.source, spec.function, given, limits=limits)
            except DeadlineExceeded as error:
                raise NotDone(error) from error
            except SandboxUnavailable as error:
                raise NotDone(Unavailable(f"sandboxed tools cannot run here: {error.reason}")) from error
        try:
            return await self._result(spec, outcome, action.context)
        except Unavailable as error:
            raise NotDone(error) from error

    async def _result(self, spec: ToolSpec, outcome: Outcome, context: Context) -> JsonValue:
        """What a tool returned, if it is what its schema says; what is large of it is an artifact."""
        if outcome.status != "ok":
            raise ToolFailed(f"{spec.name}: {outcome.status}: {outcome.detail}")
        try:
            result = _JSON.validate_json(to_json(outcome.value))
        except ValueError as error:  # what cannot be read again is no outcome: it is nested too deeply
            raise ToolFailed(f"{spec.name}: its result cannot be read: {error}") from error
        try:
            wrong = await InputSchema(spec.output_schema).wrong_value(result) if spec.output_schema else None
            short = await self._values.shorten(result, context)
        except Invalid as error:
            raise ToolFailed(f"{spec.name}: its result: {error.detail}") from error
        if wrong is not None:
            raise ToolFailed(f"{spec.name}: its result: {wrong}")
        return short

    def _bounds(self, tool: Tool) -> Limits:
        """A tool's own limits, if its owner may still have so much and this machine can hold it to them."""
        profile = tool.spec.profile or Profile()
        if excess := beyond(tool.spec, self._most(tool.state.owner or "")):
            raise NotDone(Forbidden(excess.text, part=excess.part, limit=excess.limit))
        if (profile.processes or 1) > 1 and "cgroup" not in self._sandbox.layers():
            raise NotDone(Unavailable(f"{tool.spec.name!r} wants several processes, and no cgroup bounds them here"))
        asked = profile.model_dump(exclude_none=True, exclude={"network"})
        return replace(self._limits, **asked, time_s=tool.spec.timeout_s)
