"""The edge of a service: who is asking, may they be heard, and the answer into their own inbox.

Every request ends with a reply, a problem or its deadline, never by hanging. A repeated command joins the first one
while that is under way; afterwards the action's own record answers it.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import nats.errors
import structlog
from nats.aio.msg import Msg
from pydantic import ValidationError

from dominie_contracts import (
    Command,
    CommandSubject,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    Message,
    Problem,
    Unauthenticated,
    Unavailable,
    headers,
)
from dominie_contracts.rights import caller
from dominie_contracts.subjects import PLATFORM, inbox_prefix
from dominie_eventstore import StoreUnavailable
from dominie_kit.bus import problem_body
from dominie_kit.context import Context
from dominie_kit.run_tokens import RunTokenVerifier
from dominie_kit.standing import Standing

Handler = Callable[[Any, Context], Awaitable[Message]]
MAX_KEY_CHARS = 200
_SERVICE_INBOX = f"_INBOX.{PLATFORM}."
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Route:
    """One command: its contract, its handler, and how it may be asked for.

    `resource` names the field of the command that the subject's last token must equal. `token` wants a run token,
    from an agent. `direct` serves `cmd.…`, `between` serves `svc.…`.
    """

    command: type[Command]
    handler: Handler
    resource: str | None = None
    token: bool = True
    direct: bool = True
    between: bool = False


@dataclass(frozen=True, slots=True)
class _Flight:
    body: bytes
    task: asyncio.Task[tuple[bytes, dict[str, str]]]


class Edge:
    """Takes the messages of one service's routes."""

    def __init__(
        self,
        service: str,
        verifier: RunTokenVerifier,
        standing: Standing,
        *,
        max_in_flight: int,
        default_deadline_s: float,
        caught_up: Callable[[int, float], Awaitable[None]],
    ) -> None:
        self.handled = self.refused = 0
        self._service = service
        self._verifier = verifier
        self._standing = standing
        self._max_in_flight = max_in_flight
        self._default_deadline_s = default_deadline_s
        self._caught_up = caught_up
        self._flights: dict[tuple[str, ...], _Flight] = {}

    @property
    def in_flight(self) -> int:
        """Commands under way."""
        return len(self._flights)

    async def drained(self) -> None:
        """Wait until no command is under way."""
        while self._flights:
            await asyncio.wait({flight.task for flight in self._flights.values()})

    async def take(self, route: Route, message: Msg) -> None:
        """Handle one message and answer it, if there is a right place to answer."""
        try:
            inbox = _reply_prefix(message.subject)
        except Problem as problem:
            self.refused += 1
            log.warning("edge.dropped", subject=message.subject[:200], why=problem.detail)
            return
        if not message.reply.startswith(inbox):
            self.refused += 1
            log.warning("edge.dropped", subject=message.subject[:200], why="the reply subject is not the asker's inbox")
            return
        try:
            body, found = await self._serve(route, message)
        except Problem as problem:
            log.info("edge.problem", subject=message.subject, type=problem.type, detail=problem.detail)
            body, found = self._refuse(problem)
        except StoreUnavailable as error:
            log.warning("edge.log_away", subject=message.subject, error=str(error))
            body, found = self._refuse(
                Unavailable(f"{self._service} cannot write to the event log ({error})", retry_after_s=1)
            )
        except Exception as error:
            log.exception("edge.failed", subject=message.subject, error=repr(error))
            body, found = self._refuse(Unavailable(f"{self._service} failed; its log says why", retry_after_s=1))
        try:
            await message._client.publish(message.reply, body, headers=found)
        except (nats.errors.Error, OSError) as error:  # the asker tries again, and meets the record
            log.warning("edge.unanswered", subject=message.subject, error=repr(error))

    def _refuse(self, problem: Problem) -> tuple[bytes, dict[str, str]]:
        self.refused += 1
        return problem_body(problem.details), {headers.PROBLEM: problem.type}

    async def _serve(self, route: Route, message: Msg) -> tuple[bytes, dict[str, str]]:
        context = self._context(route, message)
        name = (context.tenant, context.principal, context.user or "", route.command.NAME, context.key)
        flight = self._flights.get(name)
        if flight is None:
            if self.in_flight >= self._max_in_flight:
                raise Unavailable(f"{self._service} is busy with {self.in_flight} commands", retry_after_s=0.25)
            command = _parse(route, message, context)
            flight = _Flight(message.data, asyncio.create_task(self._handle(route, command, context)))
            self._flights[name] = flight
            flight.task.add_done_callback(lambda _: self._flights.pop(name, None))
        elif flight.body != message.data:
            raise Conflict("this key is being used for another request; use a new key")
        left_s = context.left_s
        done, _ = await asyncio.wait({flight.task}, timeout=left_s)
        if not done:
            raise DeadlineExceeded("the time ran out; what was begun goes on: ask again with the same key")
        return flight.task.result()

    async def _handle(self, route: Route, command: Command, context: Context) -> tuple[bytes, dict[str, str]]:
        reply = await route.handler(command, context)
        self.handled += 1
        return reply.model_dump_json().encode(), {headers.POSITION: str(context.position)}

    def _context(self, route: Route, message: Msg) -> Context:
        found: Mapping[str, str] = message.headers or {}
        _check_size(message, found)
        token = found.get(headers.TOKEN)
        claims = self._verifier.verify(token) if token else None
        if message.subject.startswith("svc."):
            tenant = claims.tenant if claims else PLATFORM
            principal = claims.agent if claims else caller(route.command.NAME)
            resource = None
        else:
            subject = CommandSubject.parse(message.subject)
            tenant, principal, resource = subject.tenant, subject.principal, subject.resource
            if claims and (claims.tenant, claims.agent) != (tenant, principal):
                raise Forbidden(f"the run token is {claims.agent}'s of {claims.tenant}, not {principal}'s of {tenant}")
        if route.token and claims is None:
            raise Unauthenticated(f"{route.command.NAME} needs a run token; mint one with identity.token")
        registered = self._standing.find(tenant, principal)
        if self._standing.is_revoked(tenant, principal):
            raise Unauthenticated(f"{principal} has been revoked")
        if claims and registered and claims.cnf.nkey != registered.nkey:
            raise Unauthenticated(f"{principal} has another key now; mint a new run token")
        return Context(
            tenant=tenant,
            principal=principal,
            key=_key(found),
            deadline=time.monotonic() + self._deadline_s(found),
            resource=resource,
            claims=claims,
            token=token,
            traceparent=found.get(headers.TRACEPARENT),
            after=_number(found, headers.AFTER) or 0,
            groups=registered.groups if registered else (),
            caught_up=self._caught_up,
        )

    def _deadline_s(self, found: Mapping[str, str]) -> float:
        left_ms = _number(found, headers.DEADLINE)
        if left_ms is None:
            return self._default_deadline_s
        if left_ms <= 0:
            raise DeadlineExceeded("the command arrived after its deadline")
        return min(left_ms / 1000, 24 * 3600)


def _reply_prefix(subject: str) -> str:
    if subject.startswith("svc."):
        return _SERVICE_INBOX
    parsed = CommandSubject.parse(subject)
    return inbox_prefix(parsed.tenant, parsed.principal) + "."


def _check_size(message: Msg, found: Mapping[str, str]) -> None:
    if len(message.data) > headers.MAX_COMMAND_BYTES:
        raise Invalid(f"the command has {len(message.data)} bytes; at most {headers.MAX_COMMAND_BYTES} are taken")
    if sum(len(name) + len(value) for name, value in found.items()) > headers.MAX_HEADER_BYTES:
        raise Invalid(f"the headers have more than {headers.MAX_HEADER_BYTES} bytes")


def _key(found: Mapping[str, str]) -> str:
    key = found.get(headers.KEY, "")
    if not 1 <= len(key) <= MAX_KEY_CHARS:
        raise Invalid(f"the header {headers.KEY} must hold 1 to {MAX_KEY_CHARS} characters")
    return key


def _number(found: Mapping[str, str], name: str) -> int | None:
    text = found.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 20:
        raise Invalid(f"the header {name} must be a whole number, not {text[:40]!r}")
    return int(text)


def _parse(route: Route, message: Msg, context: Context) -> Command:
    try:
        command = route.command.model_validate_json(message.data)
    except ValidationError as error:
        places = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'body'}: {e['msg']}" for e in error.errors()[:5])
        raise Invalid(f"{route.command.NAME} does not fit its contract: {places}") from error
    if route.resource is None:
        if context.resource is not None:
            raise Invalid(f"{route.command.NAME} takes no resource in its subject")
    elif not message.subject.startswith("svc.") and getattr(command, route.resource) != context.resource:
        raise Forbidden(f"the subject names {context.resource!r}, the command {getattr(command, route.resource)!r}")
    return command
