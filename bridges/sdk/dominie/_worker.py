"""A tool worker: it answers for its owner's tools, over its own connection and identity."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress

import anyio.to_thread
from anyio import CapacityLimiter
from nats.aio.msg import Msg
from pydantic import JsonValue, ValidationError

from dominie._ask import Question, ask
from dominie._connection import Subscription
from dominie._link import Link
from dominie._tool import AnyTool, ToolContext
from dominie_contracts import Invalid, Problem, headers
from dominie_contracts.subjects import call_subject
from dominie_contracts.tool import RegisteredTool, RegisterTool, WorkerAnswer, WorkerCall

THREADS = 16
REGISTER_S = 60.0
FINISH_S = 10.0
ANSWER_S = 300.0
"""How long an answer is worth delivering."""
AGAIN_S = 0.2
REMEMBERED = 1_000


class Worker:
    """Serves tools over one link."""

    def __init__(self, link: Link, tools: Sequence[AnyTool]) -> None:
        names = [tool.spec.name for tool in tools]
        if not tools or len(set(names)) != len(names):
            raise Invalid(f"a worker serves tools with different names, not {names!r}")
        self._link = link
        self._tools = {tool.spec.name: tool for tool in tools}
        self._threads = CapacityLimiter(THREADS)
        self._answers: OrderedDict[tuple[str, str], asyncio.Task[WorkerAnswer]] = OrderedDict()
        self._running: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Register the tools and answer their calls until `stop`; then finish what has begun.

        Raises:
            Problem: A tool could not be registered or served.
        """
        for tool in self._tools.values():
            command = RegisterTool(spec=tool.spec.model_copy(update={"kind": "worker", "source": None}))
            key = f"register/{tool.spec.name}/{tool.spec.version}/{time.time_ns()}"
            await ask(self._link, Question(command=command, key=key, timeout_s=REGISTER_S), RegisteredTool)
        failed: Problem | None = None
        try:
            async with asyncio.TaskGroup() as calls:
                await self._serve(calls, stop, ready)
        except* Problem as group:
            failed = next(error for error in group.exceptions if isinstance(error, Problem))
        if failed is not None:
            raise failed

    async def _serve(self, calls: asyncio.TaskGroup, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        self._calls = calls
        subscriptions = [self._subscription(name) for name in self._tools]
        for subscription in subscriptions:
            await self._link.subscribe(subscription)
        ready()
        await stop.wait()
        for subscription in subscriptions:
            await self._link.unsubscribe(subscription)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=FINISH_S)
            for task in (*late, *self._answers.values()):
                task.cancel()

    def _subscription(self, name: str) -> Subscription:
        subject = call_subject(self._link.credentials.tenant, name)
        returns = f"ret.{subject.removeprefix('call.')}."

        async def heard(message: Msg) -> None:
            with suppress(ValidationError):  # nobody but the tool service may publish here
                call = WorkerCall.model_validate_json(message.data)
                if call.tool == name and call.reply_to.startswith(returns):
                    task = self._calls.create_task(self._answer(call))
                    self._running.add(task)
                    task.add_done_callback(self._running.discard)

        return Subscription(subject, heard, queue=subject.rpartition(".")[2])

    async def _answer(self, call: WorkerCall) -> None:
        """Run a call, or join the same one, and answer once the broker has the answer."""
        answer = await asyncio.shield(self._once(call))
        body = answer.model_dump_json().encode()
        if len(body) > headers.MAX_COMMAND_BYTES:
            error = f"Invalid: the result has {len(body)} bytes; at most {headers.MAX_COMMAND_BYTES} are taken"
            body = WorkerAnswer(error=error).model_dump_json().encode()
        until_s = time.monotonic() + ANSWER_S
        with suppress(Problem):
            while True:
                connection = await self._link.connection(until_s)
                if await connection.deliver(call.reply_to, body):
                    return
                await asyncio.sleep(AGAIN_S)

    def _once(self, call: WorkerCall) -> asyncio.Task[WorkerAnswer]:
        name = (call.tool, call.key)
        task = self._answers.get(name)
        if task is None:
            task = self._answers[name] = self._calls.create_task(self._work(call))
            if len(self._answers) > REMEMBERED and next(iter(self._answers.values())).done():
                self._answers.popitem(last=False)
        return task

    async def _work(self, call: WorkerCall) -> WorkerAnswer:
        left_s = call.deadline_ms / 1000
        context = ToolContext(call.key, call.user, call.agent, call.run, left_s)
        try:
            async with asyncio.timeout(left_s):
                return WorkerAnswer(result=await self._tools[call.tool].arun(call.arguments, context, self._in_thread))
        except TimeoutError:
            return WorkerAnswer(error=f"TimeoutError: {call.tool} took longer than {left_s:g} s")
        except (Exception, SystemExit) as error:
            return WorkerAnswer(error=f"{type(error).__name__}: {error}")

    async def _in_thread(self, run: Callable[[], JsonValue]) -> JsonValue:
        return await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=self._threads)
