"""Reading many messages in order: a push consumer after the other, each beginning where the last one fell silent.

A consumer lives in the server's memory and dies with it, without a word. So it sends heartbeats, numbers what it
delivers, and whoever misses either makes the next one. Flow control keeps what is on its way within bounds.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from dominie_contracts.subjects import EVENT_STREAM
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import Deadline, Lost, Refused, Stored, ask, parse

_HEARTBEAT_S: Final = 0.5
_SILENCE_S: Final = 1.25
_NS: Final = 1_000_000_000
_API: Final = "$JS.API.CONSUMER"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a consumer is to deliver, and how long it outlives its reader."""

    name: str
    subjects: str
    linger_s: float = 2.0


class Follower:
    """Messages from sequence `start` on, in order, each once."""

    def __init__(self, nc: Client, wanted: Wanted, *, start: int, timeout_s: float, for_ever: bool) -> None:
        """Follow.

        Args:
            timeout_s: How long the store may be away: at the beginning, and if not `for_ever`, each time.
            for_ever: Otherwise it ends with the last message that was stored when it began.
        """
        self._nc = nc
        self._wanted = wanted
        self._start = max(start, 1)
        self._timeout_s = timeout_s
        self._left: float | None = float("inf") if for_ever else None
        self._feed: _Feed | None = None

    async def messages(self) -> AsyncGenerator[Stored, None]:
        """Read them.

        Raises:
            StoreUnavailable: The store was away for too long.
        """
        patience_s = self._timeout_s
        while True:
            deadline = Deadline(f"reading {self._wanted.subjects}", patience_s)
            async with _consumer(self._nc, self._wanted, self._start, deadline) as self._feed:
                if self._left is None:
                    self._left = self._feed.stored
                elif self._left == float("inf"):
                    patience_s = self._left
                while self._left > 0 and (message := await self._feed.take()) is not None:
                    self._start = message.sequence + 1
                    self._left -= 1
                    yield message
            if self._left <= 0:
                return

    async def behind(self) -> int:
        """How many messages that are stored now were not yet handed out and done with.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        deadline = Deadline(f"asking about {self._wanted.subjects}", self._timeout_s)
        while True:
            feed = self._feed
            try:
                if feed is None:
                    raise Lost("nobody reads yet")
                info = parse(await ask(self._nc, f"{_API}.INFO.{EVENT_STREAM}.{feed.name}", b"", deadline.attempt_s))
                if feed is self._feed:
                    return int(info["num_pending"]) + int(info["delivered"]["consumer_seq"]) - feed.done
            except (Lost, Refused) as error:
                await deadline.pause(error)


@asynccontextmanager
async def _consumer(nc: Client, wanted: Wanted, start: int, deadline: Deadline) -> AsyncIterator["_Feed"]:
    while True:
        feed = _Feed(nc, f"{wanted.name}-{token_hex(4)}")
        inbox = nc.new_inbox()
        try:
            subscription = await nc.subscribe(inbox, cb=feed.arrive)
        except Error as error:
            raise StoreUnavailable(f"the connection to the broker cannot be used ({error!r})") from error
        try:
            failure = await _create(feed, wanted, start, inbox, deadline.attempt_s)
            if failure is None:
                yield feed
                return
        finally:
            with suppress(Error):
                await subscription.unsubscribe()
        await deadline.pause(failure)


async def _create(feed: "_Feed", wanted: Wanted, start: int, inbox: str, timeout_s: float) -> Exception | None:
    config = {
        "name": feed.name,
        "filter_subject": wanted.subjects,
        "deliver_subject": inbox,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": start,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "flow_control": True,
        "idle_heartbeat": int(_HEARTBEAT_S * _NS),
        "inactive_threshold": int(wanted.linger_s * _NS),
    }
    request = json.dumps({"stream_name": EVENT_STREAM, "action": "create", "config": config}).encode()
    subject = f"{_API}.CREATE.{EVENT_STREAM}.{feed.name}.{wanted.subjects}"
    try:
        feed.stored = parse(await ask(feed.nc, subject, request, timeout_s))["num_pending"]
    except (Lost, Refused) as error:
        return error
    return None


class _Feed:
    """What one consumer delivers."""

    def __init__(self, nc: Client, name: str) -> None:
        self.nc = nc
        self.name = name
        self.stored = 0
        self.done = 0
        """How many messages were taken, and then the next one asked for."""
        self._arrived: deque[Msg] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._delivered = 0

    async def arrive(self, message: Msg) -> None:
        """Called by the connection for each message, in order."""
        self._arrived.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def take(self) -> Stored | None:
        """The next message, or None if the consumer is dead, silent, or has lost one."""
        self.done = self._delivered
        while True:
            if not self._arrived and not await self._wait():
                return None
            message = self._arrived.popleft()
            if message.headers and "Status" in message.headers:
                if not await self._control(message, message.headers):
                    return None
                continue
            sequence, delivered = _numbers(message.reply)
            if delivered != self._delivered + 1:
                return None
            self._delivered = delivered
            return Stored(sequence, message.subject, message.data)

    async def _wait(self) -> bool:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(_SILENCE_S):
                await self._waiter
        except TimeoutError:
            return bool(self._arrived)
        return True

    async def _control(self, message: Msg, headers: dict[str, str]) -> bool:
        """Answer flow control; whether the consumer is well."""
        answer_to = message.reply or headers.get("Nats-Consumer-Stalled")
        if answer_to:
            try:
                await self.nc.publish(answer_to)
            except Error:
                return False
        return headers["Status"] == "100" and int(headers.get("Nats-Last-Consumer", 0)) <= self._delivered


def _numbers(reply: str) -> tuple[int, int]:
    """Sequence in the stream and in the consumer (`$JS.ACK...SEQUENCE.DELIVERED.TIME.PENDING`, see NATS ADR-15)."""
    parts = reply.split(".")
    first = 5 if len(parts) == 9 else 7
    return int(parts[first]), int(parts[first + 1])
