"""A tool worker: it answers for its owner's tools, over its own connection and identity."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from nats.aio.msg import Msg
from pydantic import JsonValue, ValidationError

from dominie._artifacts import Artifacts
from dominie._ask import Question, ask
from dominie._connection import Subscription
from dominie._link import Link
from dominie._tool import AnyTool, ToolContext
from dominie_contracts import Command, Invalid, Message, Problem, headers
from dominie_contracts.subjects import call_subject
from dominie_contracts.tool import RegisteredTool, RegisterTool, WorkerAnswer, WorkerCall

R = TypeVar("R", bound=Message)
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
        self._answers: OrderedDict[tuple[str, str], asyncio.Future[bytes]] = OrderedDict()

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
            with suppress(TimeoutError):
                async with asyncio.timeout(None) as finishing, asyncio.TaskGroup() as calls:
                    await self._serve(calls, stop, ready)
                    finishing.reschedule(asyncio.get_running_loop().time() + FINISH_S)
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

    def _subscription(self, name: str) -> Subscription:
        subject = call_subject(self._link.credentials.tenant, name)
        returns = f"ret.{subject.removeprefix('call.')}."

        def heard(message: Msg) -> None:
            with suppress(ValidationError):  # nobody but the tool service may publish here
                call = WorkerCall.model_validate_json(message.data)
                if call.tool == name and call.reply_to.startswith(returns):
                    self._calls.create_task(self._answer(call))

        return Subscription(subject, heard, queue=subject.rpartition(".")[2])

    async def _answer(self, call: WorkerCall) -> None:
        """Run a call, or join the same one, and answer once the broker has the answer."""
        known = self._answers.get((call.tool, call.key))
        body = await (self._first(call) if known is None else asyncio.shield(known))
        until_s = time.monotonic() + ANSWER_S
        with suppress(Problem):
            while time.monotonic() < until_s:
                connection = await self._link.connection(until_s)
                if await connection.deliver(call.reply_to, body):
                    return
                await asyncio.sleep(AGAIN_S)

    async def _first(self, call: WorkerCall) -> bytes:
        """Run a call, and remember the answer for those that repeat it."""
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._answers[call.tool, call.key] = answer
        if len(self._answers) > REMEMBERED and next(iter(self._answers.values())).done():
            self._answers.popitem(last=False)
        try:
            answer.set_result(_body(await self._work(call)))
        finally:
            answer.cancel()  # where this was cancelled, so are those that wait
        return answer.result()

    async def _work(self, call: WorkerCall) -> WorkerAnswer:
        left_s = call.deadline_ms / 1000
        context = ToolContext(call.key, call.user, call.agent, call.run, left_s)
        try:
            async with asyncio.timeout(left_s):
                artifacts = Artifacts(partial(self._ask, time.monotonic() + left_s), call.call_pass)
                arguments = {name: await artifacts.back(value) for name, value in call.arguments.items()}
                result = await self._tools[call.tool].arun(arguments, context, self._in_thread)
                return WorkerAnswer(result=await artifacts.out(result))
        except TimeoutError:
            return WorkerAnswer(error=f"TimeoutError: {call.tool} took longer than {left_s:g} s")
        except (Exception, SystemExit) as error:
            return WorkerAnswer(error=f"{type(error).__name__}: {error}")

    async def _ask(self, until_s: float, command: Command, reply: type[R], *, key: str) -> R:
        question = Question(command=command, key=key, timeout_s=max(0.05, until_s - time.monotonic()))
        return (await ask(self._link, question, reply))[0]

    async def _in_thread(self, run: Callable[[], JsonValue]) -> JsonValue:
        return await anyio.to_thread.run_sync(run, abandon_on_cancel=True, limiter=self._threads)


def _body(answer: WorkerAnswer) -> bytes:
    body = answer.model_dump_json().encode()
    if len(body) <= headers.MAX_COMMAND_BYTES:
        return body
    error = f"Invalid: the result has {len(body)} bytes; at most {headers.MAX_COMMAND_BYTES} are taken"
    return WorkerAnswer(error=error).model_dump_json().encode()
