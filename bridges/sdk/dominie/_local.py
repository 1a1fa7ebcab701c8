"""Calls of functions in the agent's own process: recorded and decided before, their outcome recorded after."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from dominie._asker import Asker
from dominie._keys import plain
from dominie._tool import AnyTool, Runner, ToolContext
from dominie_contracts import DeadlineExceeded, Problem, Unavailable
from dominie_contracts.tool import BeginLocal, Begun, FinishLocal, ToolResult, ToolSpec


@dataclass(frozen=True, slots=True)
class Ran:
    """What a local function came to, for the log."""

    result: JsonValue
    error: str | None
    duration_ms: float
    raised: Exception | None = None


class LocalOutcomes:
    """What this process has run and not yet reported, so that a call made again does not run again."""

    def __init__(self) -> None:
        self.process = uuid.uuid4().hex
        self._running: dict[tuple[str, str], asyncio.Task[Ran]] = {}
        self.unreported: dict[tuple[str, str], Ran] = {}

    async def once(self, call: tuple[str, str], function: Callable[[], Awaitable[Ran]]) -> Ran:
        """Run the function, or join the same call that is under way."""
        task = self._running.get(call)
        if task is None:
            task = self._running[call] = asyncio.ensure_future(self._run(call, function))
            task.add_done_callback(lambda _: self._running.pop(call, None))
        return await asyncio.shield(task)

    async def _run(self, call: tuple[str, str], function: Callable[[], Awaitable[Ran]]) -> Ran:
        ran = self.unreported[call] = await function()
        return ran


class Local:
    """The local calls of one run."""

    def __init__(self, asker: Asker, outcomes: LocalOutcomes) -> None:
        self._asker = asker
        self._outcomes = outcomes

    async def begin(self, spec: ToolSpec, arguments: Mapping[str, JsonValue], key: str) -> Begun:
        """See `AsyncRun.begin`; what has run here and could not be reported is reported first."""
        local = spec.model_copy(update={"kind": "local", "source": None, "function": None})
        artifacts = self._asker.artifacts
        given = await artifacts.arguments_out(dict(arguments))
        command = BeginLocal(spec=local, arguments=given, process=self._outcomes.process)
        begun = await self._asker.ask(command, Begun, key=plain(key, "begin"))
        begun = begun.model_copy(update={"result": await artifacts.back(begun.result)})
        ran = self._outcomes.unreported.get((self._asker.run, key))
        if ran is None or begun.then != "run":
            return begun
        finished = await self.finish(begun.action, key, ran)
        return Begun(action=begun.action, then="finished", result=ran.result, labels=finished.labels)

    async def finish(self, action: str, key: str, ran: Ran) -> ToolResult:
        """See `AsyncRun.finish`."""
        call = (self._asker.run, key)
        self._outcomes.unreported[call] = ran
        try:
            result = await self._asker.artifacts.out(ran.result)
            command = FinishLocal(action=action, result=result, error=ran.error, duration_ms=ran.duration_ms)
            finished = await self._asker.ask(command, ToolResult, key=plain(key, "finish"))
        except (Unavailable, DeadlineExceeded):
            raise
        except Problem:
            self._outcomes.unreported.pop(call, None)
            raise
        self._outcomes.unreported.pop(call, None)
        return finished.model_copy(update={"result": ran.result})

    async def run(
        self, tool: AnyTool, arguments: Mapping[str, JsonValue], action: str, key: str, runner: Runner
    ) -> ToolResult:
        """Run the function once and record the outcome.

        Raises:
            Exception: What the function raised.
        """
        asker = self._asker
        context = ToolContext(key, asker.user, asker.agent, asker.run, tool.spec.timeout_s)
        ran = await self._outcomes.once((asker.run, key), lambda: _run(tool, arguments, context, runner))
        finished = await self.finish(action, key, ran)
        if ran.raised is not None:
            raise ran.raised
        return finished


async def _run(tool: AnyTool, arguments: Mapping[str, JsonValue], context: ToolContext, runner: Runner) -> Ran:
    began_s = time.monotonic()
    result, raised = None, None
    try:
        async with asyncio.timeout(context.deadline_s):
            result = await tool.arun(arguments, context, runner)
    except Exception as failure:
        raised = failure
    error = None if raised is None else f"{type(raised).__name__}: {raised}"
    return Ran(result, error, (time.monotonic() - began_s) * 1000, raised)
