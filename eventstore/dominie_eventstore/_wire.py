"""Requests to JetStream on somebody else's connection: what was asked, what came back, or that nothing did."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from dominie_contracts.subjects import EVENT_STREAM
from dominie_eventstore._errors import StoreUnavailable

WRONG_LAST_SEQUENCE = 10071
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
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


@dataclass(frozen=True, slots=True)
class Stored:
    """One message as JetStream keeps it."""

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


async def ask(nc: Client, subject: str, payload: bytes, timeout_s: float, headers: dict[str, str] | None = None) -> Msg:
    """One request, one answer. Nothing is sent while the connection is down, so nothing is sent late.

    Raises:
        Lost: No answer came.
        StoreUnavailable: The connection is closed for good.
    """
    if not nc.is_connected:
        await connected(nc, timeout_s)
    try:
        return await nc.request(subject, payload, timeout=timeout_s, headers=headers)
    except (Error, OSError) as error:
        raise Lost(f"{subject}: {error!r}") from error


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
    body: dict[str, Any] = json.loads(answer.data)
    if error := body.get("error"):
        raise Refused(error.get("err_code", 0), error.get("description", "unknown error"))
    return body


async def last_message(nc: Client, subjects: str, deadline: Deadline) -> Stored | None:
    """The last message of a subject or of a subject filter.

    Raises:
        StoreUnavailable: The store did not say in time.
    """
    while True:
        try:
            answer = await ask(nc, f"$JS.API.DIRECT.GET.{EVENT_STREAM}.{subjects}", b"", deadline.attempt_s)
        except Lost as error:
            await deadline.pause(error)
            continue
        headers = answer.headers or {}
        match headers.get("Status"):
            case None:
                return Stored(int(headers["Nats-Sequence"]), headers["Nats-Subject"], answer.data)
            case "404":
                return None
            case status:
                raise StoreUnavailable(f"the broker answered {status} to a read of {subjects}")
