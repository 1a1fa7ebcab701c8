"""Requests to JetStream on somebody else's connection: what was asked, what came back, or that nothing did."""

import asyncio
import itertools
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, NamedTuple

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import Error
from pydantic_core import from_json

from dominie_contracts.heard import AtOnce
from dominie_contracts.subjects import event_subject, segment_stream
from dominie_eventstore._errors import StoreUnavailable

WRONG_LAST_SEQUENCE = (10071, 10164)
"""The second one where others' append to the same subject is about to be stored."""
NOT_NOW = (10008, 10167)
"""The cluster elects a leader, or has too much to agree on; nothing is stored."""
SEALED = 10109
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
_NO_RESPONDERS = "503"
_ATTEMPT_S = 1.0
_POLL_S = 0.02
_LONGEST_PAUSE_S = 0.25


class Lost(Exception):
    """No answer: it may have arrived, or not."""


class Refused(Exception):
    """JetStream answered with an error."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} ({code})")
        self.code = code


class Stored(NamedTuple):
    """One message as JetStream keeps it."""

    segment: int
    sequence: int
    subject: str
    data: bytes


class Deadline:
    """How long one operation may still take, over all its attempts."""

    __slots__ = ("_end", "_loop", "_pauses", "_timeout_s", "_what", "_why")

    def __init__(self, what: str, timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._end = self._loop.time() + timeout_s
        self._what = what
        self._timeout_s = timeout_s
        self._pauses = 0
        self._why: Exception | None = None

    @property
    def attempt_s(self) -> float:
        """How long the next attempt may take, so that time is left to look afterwards."""
        return min(_ATTEMPT_S, max(0.05, (self._end - self._loop.time()) * 0.6))

    @property
    def left_s(self) -> float:
        """How long the whole may still take, for a request that is not worth a second attempt in between."""
        return max(0.05, self._end - self._loop.time())

    def check(self) -> None:
        """Go on only while there is time.

        Raises:
            StoreUnavailable: There is none left.
        """
        if self._loop.time() >= self._end:
            raise StoreUnavailable(f"{self._what}: nothing within {self._timeout_s} s") from self._why

    async def pause(self, why: Exception | None = None) -> None:
        """Wait before the next attempt, longer each time; `why` the last one failed.

        Raises:
            StoreUnavailable: The time is over.
        """
        self._why = why
        self.check()
        await asyncio.sleep(min(_LONGEST_PAUSE_S, 0.01 * 2 ** min(self._pauses, 8)))
        self._pauses += 1


class Wire:
    """Requests on somebody else's connection, their answers all under one inbox.

    Not nats-py's own `request`: its `asyncio.wait_for` swallows a cancellation that comes with the answer (Python
    3.11), and the task that was to end goes on for ever.
    """

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self._inbox: str | None = None
        self._listening: Subscription | None = None
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[Msg]] = {}

    async def ask(
        self, subject: str, payload: bytes, *, timeout_s: float, headers: dict[str, str] | None = None
    ) -> Msg:
        """One request, one answer. Nothing is sent while the connection is down, so nothing is sent late.

        Raises:
            Lost: No answer came.
            StoreUnavailable: The connection is closed for good.
        """
        if not self.nc.is_connected:
            await connected(self.nc, timeout_s)
        reply = f"{self._inbox or await self._listen()}.{next(self._numbers)}"
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Msg] = loop.create_future()
        self._waiting[reply] = answer
        alarm = loop.call_later(timeout_s, _give_up, answer)
        try:
            await self.nc.publish(subject, payload, reply=reply, headers=headers)
            message = await answer
        except (Error, OSError, TimeoutError) as error:
            raise Lost(f"{subject}: {error!r}") from error
        finally:
            alarm.cancel()
            del self._waiting[reply]
        if message.headers is not None and message.headers.get("Status") == _NO_RESPONDERS:
            raise Lost(f"{subject}: nobody answers there")
        return message

    async def last_sequences(self, segment: int, subjects: Sequence[str], *, timeout_s: float) -> list[int | None]:
        """Where each subject of a segment ends, 0 if it has no message; None where nobody said so in time.

        Many at once, so with one alarm for all, and neither a task nor a look at the bodies.
        """
        loop = asyncio.get_running_loop()
        answers: dict[str, asyncio.Future[Msg]] = {}
        try:
            inbox = self._inbox or await self._listen()
            for subject in subjects:
                reply = f"{inbox}.{next(self._numbers)}"
                answers[reply] = self._waiting[reply] = loop.create_future()
                await self.nc.publish(_get(segment, subject), b"", reply=reply)
            await asyncio.wait(answers.values(), timeout=timeout_s)
        except (Error, OSError, Lost):
            pass  # whoever has no answer is not told one
        finally:
            for reply in answers:
                del self._waiting[reply]
        found = [_sequence(answer.result()) if answer.done() else None for answer in answers.values()]
        return found + [None] * (len(subjects) - len(found))

    async def _listen(self) -> str:
        self._inbox = inbox = self.nc.new_inbox()
        try:
            self._listening = await self.nc.subscribe(f"{inbox}.*", future=AtOnce(self._answered))  # type: ignore[arg-type]
        except Error as error:
            self._inbox = None
            raise Lost(f"the connection cannot be used: {error!r}") from error
        return inbox

    async def close(self) -> None:
        """Leave nothing on the connection."""
        if self._listening is not None:
            with suppress(Error):
                await self._listening.unsubscribe()

    def _answered(self, message: Msg) -> None:
        waiting = self._waiting.get(message.subject)
        if waiting is not None and not waiting.done():
            waiting.set_result(message)


def _sequence(answer: Msg) -> int | None:
    """The sequence of a message that was asked for: 0 if there is none, None if that is not what it says."""
    headers = answer.headers or {}
    match headers.get("Status"):
        case None:
            return int(headers["Nats-Sequence"])
        case "404":
            return 0
        case _:
            return None


def _give_up(answer: asyncio.Future[Msg]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


async def connected(nc: Client, timeout_s: float) -> None:
    """Wait until the connection is up.

    Raises:
        Lost: It stayed down.
        StoreUnavailable: It is closed for good.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + timeout_s
    while not nc.is_connected:
        if nc.is_closed:
            raise StoreUnavailable("the connection to the broker is closed")
        if loop.time() >= end:
            raise Lost("the connection to the broker is down")
        await asyncio.sleep(_POLL_S)


def parse(answer: Msg) -> dict[str, Any]:
    """The body of JetStream's answer.

    Raises:
        Refused: It is an error.
    """
    body: dict[str, Any] = from_json(answer.data)
    if error := body.get("error"):
        raise Refused(error.get("err_code", 0), error.get("description", "unknown error"))
    return body


async def last_message(wire: Wire, segment: int, tail: str, *, timeout_s: float) -> Stored | None:
    """The last message in a segment of a stream, or of a filter of streams.

    Raises:
        Lost: No answer came; the segment may have been removed.
        StoreUnavailable: The broker cannot say.
    """
    answer = await wire.ask(_get(segment, event_subject(segment, tail)), b"", timeout_s=timeout_s)
    headers = answer.headers or {}
    match headers.get("Status"):
        case None:
            return Stored(segment, int(headers["Nats-Sequence"]), headers["Nats-Subject"], answer.data)
        case "404":
            return None
        case status:
            raise StoreUnavailable(f"the broker answered {status} to a read of {tail} in segment {segment}")


def _get(segment: int, subject: str) -> str:
    return f"$JS.API.DIRECT.GET.{segment_stream(segment)}.{subject}"
