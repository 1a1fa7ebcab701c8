"""The synchronous client: the async one on a thread of its own, for any number of threads to use at once."""

import asyncio
import queue
import weakref
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal
from pydantic import JsonValue

from dominie._chat import Reply
from dominie._client import TIMEOUT_S, AsyncClient
from dominie._credentials import Credentials
from dominie._deltas import Chunk
from dominie._invoking import Wait
from dominie._run import AsyncRun, Messages
from dominie._tool import AnyTool
from dominie_contracts import Command, Message
from dominie_contracts.action import Ask
from dominie_contracts.guardrail import ApprovalView, LimitUse
from dominie_contracts.memory import Memory, Role, Turn
from dominie_contracts.plans import Plan
from dominie_contracts.token import Grants
from dominie_contracts.tool import Begun, ToolResult, ToolSpec

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R", bound=Message)
Job = tuple[Future[JsonValue], Callable[[], JsonValue]]


class Client:
    """As `AsyncClient`, without `await`, and safe to use from several threads.

    It closes with `close`, at the end of a `with`, or when the program ends.
    """

    def __init__(
        self, agent: str | None = None, *, credentials: Credentials | None = None, timeout_s: float = TIMEOUT_S
    ) -> None:
        self._async = AsyncClient(agent, credentials=credentials, timeout_s=timeout_s)
        opened = start_blocking_portal(name=f"dominie-{self._async.agent}")
        self.portal = opened.__enter__()
        """Where the async client lives."""
        self._close = weakref.finalize(self, _close, self._async, self.portal, opened)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def credentials(self) -> Credentials:
        """Who this is."""
        return self._async.credentials

    @property
    def agent(self) -> str:
        """This principal: `a-NAME`."""
        return self._async.agent

    @property
    def tenant(self) -> str:
        """The tenant it belongs to."""
        return self._async.tenant

    def open(self) -> None:
        """See `AsyncClient.open`."""
        self.portal.call(self._async.open)

    def close(self) -> None:
        """Close the connection, for good."""
        self._close()

    def run(
        self,
        user: str | None = None,
        *,
        session: str | None = None,
        id: str | None = None,
        request: str | None = None,
        plan: Plan | None = None,
        max_cost_usd: float | None = None,
        subject_token: str | None = None,
        timeout_s: float | None = None,
    ) -> "Run":
        """See `AsyncClient.run`."""
        begin = partial(
            self._async.run,
            user,
            session=session,
            id=id,
            request=request,
            plan=plan,
            max_cost_usd=max_cost_usd,
            subject_token=subject_token,
            timeout_s=timeout_s,
        )
        return Run(self, self.portal.call(begin))

    def plan(
        self,
        request: str,
        user: str | None = None,
        *,
        model: str = "auto",
        id: str | None = None,
        max_cost_usd: float | None = None,
        subject_token: str | None = None,
        timeout_s: float | None = None,
    ) -> Plan:
        """See `AsyncClient.plan`."""
        return self.portal.call(
            partial(
                self._async.plan,
                request,
                user,
                model=model,
                id=id,
                max_cost_usd=max_cost_usd,
                subject_token=subject_token,
                timeout_s=timeout_s,
            )
        )

    def ask(
        self,
        command: Command,
        reply: type[R],
        *,
        resource: str | None = None,
        key: str | None = None,
        timeout_s: float | None = None,
    ) -> R:
        """See `AsyncClient.ask`."""
        return self.portal.call(
            partial(self._async.ask, command, reply, resource=resource, key=key, timeout_s=timeout_s)
        )

    def approvals(self, *, everything: bool = False, action: str = "") -> tuple[ApprovalView, ...]:
        """See `AsyncClient.approvals`."""
        return self.portal.call(partial(self._async.approvals, everything=everything, action=action))

    def approve(self, approval: ApprovalView, *, note: str = "") -> tuple[Ask, ...]:
        """See `AsyncClient.approve`."""
        return self.portal.call(partial(self._async.approve, approval, note=note))

    def deny(self, approval: ApprovalView, *, note: str = "") -> None:
        """See `AsyncClient.deny`."""
        self.portal.call(partial(self._async.deny, approval, note=note))


class Run:
    """As `AsyncRun`, without `await`; make it with `Client.run`."""

    def __init__(self, client: Client, run: AsyncRun) -> None:
        self._client = client
        self._async = run
        self.id = run.id
        self.user = run.user
        self.session = run.session
        self.agent = run.agent

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """See `AsyncRun.aclose`."""
        self._call(self._async.aclose)

    @property
    def position(self) -> int:
        """The last position that this run has written."""
        return self._async.position

    def chat(
        self,
        messages: Messages,
        model: str = "auto",
        *,
        on_delta: Callable[[Chunk], object] | None = None,
        **arguments: Any,
    ) -> Reply:
        """See `AsyncRun.chat`; `on_delta` is called in this thread."""
        if on_delta is None:
            return self._call(self._async.chat, messages, model, **arguments)
        for found in self.stream(messages, model, **arguments):
            if isinstance(found, Reply):
                return found
            on_delta(found)
        raise AssertionError("a stream ends with its reply or an exception")

    def stream(self, messages: Messages, model: str = "auto", **arguments: Any) -> Iterator[Chunk | Reply]:
        """See `AsyncRun.stream`."""
        found: queue.SimpleQueue[Chunk | Reply | None] = queue.SimpleQueue()

        async def pump() -> None:
            async for each in self._async.stream(messages, model, **arguments):
                found.put(each)

        pumping = self._client.portal.start_task_soon(pump)
        pumping.add_done_callback(lambda _: found.put(None))
        try:
            while (each := found.get()) is not None:
                yield each
            pumping.result()
        finally:
            pumping.cancel()

    def tools(self) -> tuple[ToolSpec, ...]:
        """See `AsyncRun.tools`."""
        return self._call(self._async.tools)

    def invoke(
        self,
        tool: str,
        arguments: Mapping[str, JsonValue],
        *,
        key: str | None = None,
        tool_call_id: str | None = None,
        wait: Wait = "raise",
        timeout_s: float | None = None,
        references: Mapping[str, str] | None = None,
    ) -> ToolResult:
        """See `AsyncRun.invoke`."""
        return self._call(
            self._async.invoke,
            tool,
            arguments,
            key=key,
            tool_call_id=tool_call_id,
            wait=wait,
            timeout_s=timeout_s,
            references=references,
        )

    def wait_approval(self, action: str, timeout_s: float) -> ToolResult:
        """See `AsyncRun.wait_approval`."""
        return self._call(self._async.wait_approval, action, timeout_s)

    def call_local(
        self,
        tool: AnyTool,
        arguments: Mapping[str, JsonValue],
        key: str | None = None,
        *,
        tool_call_id: str | None = None,
        wait: Wait = "raise",
    ) -> ToolResult:
        """See `AsyncRun.call_local`; a synchronous function runs in this thread."""
        jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()

        async def here(call: Callable[[], JsonValue]) -> JsonValue:
            done: Future[JsonValue] = Future()
            jobs.put((done, call))
            return await asyncio.wrap_future(done)

        calling = self._client.portal.start_task_soon(
            partial(self._async._call_local, tool, arguments, key, tool_call_id, wait, here)
        )
        calling.add_done_callback(lambda _: jobs.put(None))
        while (job := jobs.get()) is not None:
            _do(*job)
        return calling.result()

    def begin(self, spec: ToolSpec, arguments: Mapping[str, JsonValue], *, key: str) -> Begun:
        """See `AsyncRun.begin`."""
        return self._call(self._async.begin, spec, arguments, key=key)

    def finish(
        self,
        action: str,
        *,
        key: str,
        result: JsonValue = None,
        error: str | None = None,
        duration_ms: float = 0.0,
    ) -> ToolResult:
        """See `AsyncRun.finish`."""
        return self._call(self._async.finish, action, key=key, result=result, error=error, duration_ms=duration_ms)

    def hand_on(
        self, agent: str, *, id: str | None = None, grants: Grants | None = None, max_cost_usd: float | None = None
    ) -> str:
        """See `AsyncRun.hand_on`."""
        return self._call(self._async.hand_on, agent, id=id, grants=grants, max_cost_usd=max_cost_usd)

    def remember(self, text: str, *, namespace: str = "user") -> str:
        """See `AsyncRun.remember`."""
        return self._call(self._async.remember, text, namespace=namespace)

    def recall(self, query: str, *, namespace: str = "user", limit: int = 5) -> tuple[Memory, ...]:
        """See `AsyncRun.recall`."""
        return self._call(self._async.recall, query, namespace=namespace, limit=limit)

    def say(self, text: str, *, role: Role = "user") -> None:
        """See `AsyncRun.say`."""
        self._call(self._async.say, text, role=role)

    def turns(self, limit: int = 10) -> tuple[Turn, ...]:
        """See `AsyncRun.turns`."""
        return self._call(self._async.turns, limit)

    def widen(
        self,
        *,
        tools: Iterable[str] = (),
        models: Iterable[str] = (),
        namespaces: Iterable[str] = (),
        max_cost_usd: float | None = None,
        reason: str,
        wait: Wait = "raise",
    ) -> None:
        """See `AsyncRun.widen`."""
        self._call(
            self._async.widen,
            tools=tools,
            models=models,
            namespaces=namespaces,
            max_cost_usd=max_cost_usd,
            reason=reason,
            wait=wait,
        )

    def limits(self) -> tuple[LimitUse, ...]:
        """See `AsyncRun.limits`."""
        return self._call(self._async.limits)

    def reply(self, text: str, *, timeout_s: float | None = None) -> str:
        """See `AsyncRun.reply`."""
        return self._call(self._async.reply, text, timeout_s=timeout_s)

    def _call(self, method: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        return self._client.portal.call(partial(method, *args, **kwargs))


def _do(done: Future[JsonValue], call: Callable[[], JsonValue]) -> None:
    if done.set_running_or_notify_cancel():
        try:
            done.set_result(call())
        except Exception as error:
            done.set_exception(error)


def _close(client: AsyncClient, portal: BlockingPortal, opened: AbstractContextManager[BlockingPortal]) -> None:
    portal.call(client.aclose)
    opened.__exit__(None, None, None)
