"""One command and its reply: tried with the same key until its deadline, whatever falls over in between."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from nats.aio.msg import Msg
from pydantic import ValidationError

from dominie._connection import Connection, Gone, Outcome, Refused
from dominie._link import Link
from dominie._mailbox import Mailbox
from dominie_contracts import (
    Command,
    DeadlineExceeded,
    Forbidden,
    Invalid,
    Message,
    ProblemDetails,
    Unavailable,
    headers,
)
from dominie_contracts.problems import problem_from
from dominie_contracts.subjects import CommandSubject

R = TypeVar("R", bound=Message)
ATTEMPT_S, ATTEMPT_GROWTH = 5.0, 2.0
PAUSE_S, PAUSE_MAX_S = 0.05, 1.0
_NO_RESPONDERS = "503"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One command, ready to be sent."""

    command: Command
    key: str
    timeout_s: float
    resource: str | None = None
    headers: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A good reply as it came."""

    data: bytes
    position: int


async def ask(link: Link, question: Question, reply: type[R]) -> tuple[R, int]:
    """Ask, and parse the reply; the second value is the position that it wrote (0: none).

    Raises:
        Problem: What the service answered; Forbidden, Unavailable or DeadlineExceeded where it could not.
    """
    answer = await _Asking(link, question).run()
    try:
        return reply.model_validate_json(answer.data), answer.position
    except ValidationError as error:
        raise Unavailable(f"the answer to {question.command.NAME} is not what was promised: {error}") from error


class _Asking:
    def __init__(self, link: Link, question: Question) -> None:
        who = link.credentials
        self._link = link
        self._question = question
        self._service = question.command.NAME.partition(".")[0]
        self._subject = _subject(who.tenant, who.principal, question.command.NAME, question.resource)
        self._body = question.command.model_dump_json().encode()
        if len(self._body) > headers.MAX_COMMAND_BYTES:
            limit = headers.MAX_COMMAND_BYTES
            raise Invalid(f"{question.command.NAME} has {len(self._body)} bytes; at most {limit} are taken")
        self._deadline_s = time.monotonic() + question.timeout_s
        self._mailbox: Mailbox[Outcome] = Mailbox()
        self._expected: list[tuple[Connection, str]] = []
        self._refusals = 0
        self._pause_s = PAUSE_S
        self._away: Unavailable | None = None

    @property
    def _left_s(self) -> float:
        return self._deadline_s - time.monotonic()

    async def run(self) -> Found:
        attempt_s = ATTEMPT_S
        try:
            while True:
                connection = await self._link.connection(self._deadline_s)
                await self._send(connection)
                answer = await self._hear(connection, attempt_s)
                if answer is not None:
                    return answer
                attempt_s *= ATTEMPT_GROWTH
                if self._left_s <= 0:
                    raise self._late()
        finally:
            for connection, inbox in self._expected:
                connection.forget(inbox)

    async def _send(self, connection: Connection) -> None:
        inbox = connection.expect(self._subject, self._mailbox.put)
        self._expected.append((connection, inbox))
        found = {
            **(self._question.headers or {}),
            headers.KEY: self._question.key,
            headers.DEADLINE: str(max(1, int(self._left_s * 1000))),
        }
        await connection.publish(self._subject, self._body, reply=inbox, headers=found)

    async def _hear(self, connection: Connection, attempt_s: float) -> Found | None:
        """The answer to this attempt or an earlier one; None to try again."""
        until_s = min(time.monotonic() + attempt_s, self._deadline_s)
        while True:
            outcome = await self._mailbox.get(until_s - time.monotonic())
            if outcome is None:
                return None
            if isinstance(outcome, Msg):
                answer = self._read(outcome)
                if answer is None:
                    await self._pause()
                return answer
            if outcome.connection is not connection:
                continue
            if isinstance(outcome, Refused):
                await self._refused(connection)
            assert isinstance(outcome, Refused | Gone)
            return None

    def _read(self, message: Msg) -> Found | None:
        """A good answer; None if the service is away or busy.

        Raises:
            Problem: The service's own.
        """
        found = message.headers or {}
        if found.get("Status") == _NO_RESPONDERS:
            self._away = Unavailable(f"nobody answers for {self._service!r}; `dominie status` says what runs")
            return None
        if headers.PROBLEM not in found:
            return Found(message.data, int(found.get(headers.POSITION, 0)))
        try:
            problem = problem_from(ProblemDetails.model_validate_json(message.data))
        except ValidationError:
            problem = Unavailable(f"{self._service} answered with something that is no problem")
        if not isinstance(problem, Unavailable):
            raise problem
        self._away = problem
        return None

    async def _refused(self, connection: Connection) -> None:
        """The rights may be older than a grant: once more with fresh ones."""
        self._refusals += 1
        if self._refusals > 1:
            who = self._link.credentials.principal
            raise Forbidden(f"{who!r} may not publish {self._subject!r}: it is not granted", subject=self._subject)
        await self._link.renewed(connection, self._deadline_s)

    async def _pause(self) -> None:
        asked_s = (self._away.retry_after_s if self._away else None) or 0.0
        wait_s = max(asked_s, self._pause_s) * random.uniform(0.8, 1.2)
        self._pause_s = min(self._pause_s * 2, PAUSE_MAX_S)
        if wait_s >= self._left_s:
            raise self._late()
        await asyncio.sleep(wait_s)

    def _late(self) -> DeadlineExceeded | Unavailable:
        name, seconds = self._question.command.NAME, self._question.timeout_s
        if self._away is not None:
            return Unavailable(f"{name} was tried for {seconds:g} s: {self._away.detail}", retry_after_s=1)
        return DeadlineExceeded(
            f"{name} had no answer in {seconds:g} s; ask again with the same key to learn its outcome"
        )


@lru_cache(maxsize=1024)
def _subject(tenant: str, principal: str, name: str, resource: str | None) -> str:
    service, command = name.split(".")
    return str(CommandSubject(tenant, principal, service, command, resource))
