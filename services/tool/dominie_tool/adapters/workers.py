"""Calls tool workers: `call.{tenant}.{tool}` out, `ret.{tenant}.{tool}.{instance}.{call}` back."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import lru_cache

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError
from pydantic import JsonValue, ValidationError
from pydantic_core import to_json

from dominie_contracts import ToolFailed, Unavailable
from dominie_contracts.heard import AtOnce
from dominie_contracts.subjects import call_subject, return_subject
from dominie_contracts.tool import ToolSpec, WorkerAnswer
from dominie_kit import Context, Lost, NotDone
from dominie_tool.adapters.artifacts import proof

_NOBODY = "503"


class Workers:
    """The way to the tool workers of all tenants, over the inner connection."""

    def __init__(self, client: Client, instance: str) -> None:
        self._client = client
        self._instance = instance
        self._numbers = itertools.count()
        self._waiting: dict[str, asyncio.Future[Msg]] = {}

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Take answers for as long as this is open."""
        heard, subject = AtOnce(self._take), f"ret.*.*.{self._instance}.*"
        subscription = await self._client.subscribe(subject, future=heard)  # type: ignore[arg-type]  # stands for one
        try:
            yield
        finally:
            if not self._client.is_closed:
                await subscription.unsubscribe()

    async def call(self, spec: ToolSpec, arguments: dict[str, JsonValue], key: str, context: Context) -> JsonValue:
        """Have a worker run a tool.

        Raises:
            NotDone: No worker is there, so nothing happened.
            Lost: A worker was sent the call and did not answer in the tool's time.
            ToolFailed: The tool ran and failed.
        """
        subject, answers = _subjects(context.tenant, spec.name, self._instance)
        reply_to = f"{answers}{next(self._numbers)}"
        # A WorkerCall, written without reading its arguments again.
        call = {
            "tool": spec.name,
            "version": spec.version,
            "arguments": arguments,
            "key": key,
            "user": context.user or "",
            "agent": context.principal,
            "run": context.run or "",
            "deadline_ms": int(spec.timeout_s * 1000),
            "reply_to": reply_to,
            "proof": proof(context, spec.name, key, arguments),
        }
        loop = asyncio.get_running_loop()
        answered = self._waiting[reply_to] = loop.create_future()
        late = loop.call_later(spec.timeout_s, _give_up, answered)
        try:
            await self._client.publish(subject, to_json(call), reply_to)
            message = await answered
        except NatsError as error:
            raise NotDone(Unavailable("the bus is away", retry_after_s=0.5)) from error
        except TimeoutError as error:
            raise Lost(f"the worker of {spec.name!r} did not answer in {spec.timeout_s:g} s") from error
        finally:
            late.cancel()
            del self._waiting[reply_to]
        return _result(spec, message)

    def _take(self, message: Msg) -> None:
        # By the whole subject: the broker lets a worker answer for its own tenant and tool alone.
        answered = self._waiting.get(message.subject)
        if answered is not None and not answered.done():
            answered.set_result(message)


def _give_up(answered: asyncio.Future[Msg]) -> None:
    if not answered.done():
        answered.set_exception(TimeoutError())


@lru_cache(1024)
def _subjects(tenant: str, tool: str, instance: str) -> tuple[str, str]:
    """Where a tool's calls go, and what their answers' subjects begin with."""
    return call_subject(tenant, tool), return_subject(tenant, tool, instance, "0").removesuffix("0")


def _result(spec: ToolSpec, message: Msg) -> JsonValue:
    if (message.headers or {}).get("Status") == _NOBODY:
        raise NotDone(Unavailable(f"no worker of {spec.name!r} is running; start one", retry_after_s=0.5))
    try:
        answer = WorkerAnswer.model_validate_json(message.data)
    except ValidationError as error:
        raise ToolFailed(f"{spec.name}: the worker's answer is no answer") from error
    if answer.error is not None:
        raise ToolFailed(f"{spec.name}: {answer.error}")
    return answer.result
