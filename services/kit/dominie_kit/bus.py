"""A service's two connections: the edge, which may only answer, and the inner one, which may act.

The broker does not check reply subjects, so a service that answered wherever it was told could be made to write
events for its caller. The edge's connection may publish to inboxes and `out.` alone (docs/design.md, "The bus").
"""

import json
import time
from contextlib import suppress
from typing import Literal, TypeVar

import anyio
import nats.errors
import structlog
from nats.aio.client import Client

from dominie.wire import Wire
from dominie_contracts import Command, DeadlineExceeded, Message, Problem, ProblemDetails, Unavailable, headers
from dominie_contracts.problems import problem_from
from dominie_contracts.subjects import broker_urls, service_inbox_prefix, service_subject
from dominie_kit.context import Context
from dominie_kit.keys.folder import KeyFolder
from dominie_kit.settings import KitSettings

R = TypeVar("R", bound=Message)
_ATTEMPT_S = 5.0
_PAUSE_S = 0.1
_RECONNECT_S = 0.1
_PING_S = 10
"""Between two pings; a broker that is silent for three is left for another."""
_DETAIL = 2_000
"""Characters of a problem's text."""
log = structlog.get_logger()


async def _note_error(error: Exception) -> None:
    log.warning("bus.error", error=str(error) or type(error).__name__)


class Connection:
    """One of a service's connections, which no message and no absence of the broker can end."""

    def __init__(self, service: str, kind: Literal["edge", "inner"], settings: KitSettings) -> None:
        self.client: Client = Wire()
        self._name = f"{service}-{kind}"
        self._inbox_prefix = f"{service_inbox_prefix(service)}.{kind}".encode()
        self._url = settings.nats_url
        keys = KeyFolder(settings.keys).service(service)
        self._seed = (keys.edge if kind == "edge" else keys.inner).seed

    async def open(self) -> None:
        """Connect, and keep trying while the broker is away. What is published meanwhile is refused, not kept."""
        await self.client.connect(
            broker_urls(self._url),
            nkeys_seed_str=self._seed,
            inbox_prefix=self._inbox_prefix,
            max_reconnect_attempts=-1,
            reconnect_time_wait=_RECONNECT_S,  # type: ignore[arg-type]  # nats-py sleeps any number of seconds
            connect_timeout=5,
            ping_interval=_PING_S,
            name=self._name,
            error_cb=_note_error,
            pending_size=0,
        )

    async def flushed(self) -> None:
        """Wait until a broker has all that was written: subscriptions, on the next connection where one ended."""
        while True:
            with suppress(OSError, nats.errors.Error):
                if self.client.is_connected:
                    await self.client.flush()
                    return
            await anyio.sleep(_RECONNECT_S)

    async def close(self) -> None:
        """Close the connection; nats-py raises where the broker is gone already."""
        with suppress(OSError, nats.errors.Error):
            await self.client.close()


class Inner(Connection):
    """The inner connection: events, other services, tool workers."""

    def __init__(self, service: str, settings: KitSettings) -> None:
        super().__init__(service, "inner", settings)

    async def call(self, context: Context, command: Command, reply: type[R], *, key: str | None = None) -> R:
        """Send a command to another service and wait for its answer, until the context's deadline.

        A try that gets no answer is repeated with the same key; the other side joins it to the first.

        Raises:
            Problem: What the other service answered; `Unavailable` when none did in time.
        """
        service, name = command.NAME.split(".")
        subject, body = service_subject(service, name), command.model_dump_json().encode()
        away = "does not answer"
        while True:
            try:
                left_s = context.left_s
            except DeadlineExceeded as error:
                raise Unavailable(f"{service} {away}; ask again with the same key", retry_after_s=1) from error
            try:
                message = await self.client.request(
                    subject, body, timeout=min(left_s, _ATTEMPT_S), headers=self._headers(context, key, left_s)
                )
            except nats.errors.NoRespondersError:
                away = "is not running"
            except (nats.errors.Error, TimeoutError, ConnectionError):
                away = "does not answer"
            else:
                if headers.PROBLEM not in (message.headers or {}):
                    return reply.model_validate_json(message.data)
                problem = problem_from(ProblemDetails.model_validate_json(message.data))
                if not isinstance(problem, Unavailable) or left_s < max(_PAUSE_S, problem.retry_after_s or 0.0):
                    raise problem
            await anyio.sleep(min(_PAUSE_S, left_s))

    async def tell(self, context: Context, command: Command, reply: type[R], *, key: str) -> None:
        """Send a command whose failure changes nothing for the caller; it is logged."""
        try:
            await self.call(context, command, reply, key=key)
        except Problem as problem:
            log.warning("bus.untold", command=command.NAME, type=problem.type)

    def _headers(self, context: Context, key: str | None, left_s: float) -> dict[str, str]:
        found = {headers.KEY: key or context.key, headers.DEADLINE: str(int(left_s * 1000))}
        if context.token:
            found[headers.TOKEN] = context.token
        if context.traceparent:
            found[headers.TRACEPARENT] = context.traceparent
        if context.after:
            found[headers.AFTER] = str(context.after)
        return found


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def problem_body(details: ProblemDetails) -> bytes:
    """A problem's bytes (RFC 9457)."""
    return json.dumps(bounded(details).model_dump(exclude_none=True)).encode()


def bounded(details: ProblemDetails) -> ProblemDetails:
    """The same problem with a text that every record and answer has room for."""
    if len(details.detail) <= _DETAIL:
        return details
    return details.model_copy(update={"detail": details.detail[: _DETAIL - 1] + "…"})
