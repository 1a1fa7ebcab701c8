"""One push consumer: a numbered run of messages that ends when it falls silent.

A consumer lives in the server's memory and dies with it, without a word. So it sends heartbeats and numbers what it
delivers, and whoever misses either makes the next one. Flow control keeps what is on its way within bounds.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error

from dominie_contracts.heard import AtOnce
from dominie_contracts.subjects import EVENT_STREAM
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import Deadline, Lost, Refused, Stored, Wire, parse

_HEARTBEAT_S: Final = 0.5
_SILENCE_S: Final = 1.25
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a consumer is to deliver, and how long it outlives its reader."""

    name: str
    subjects: str
    linger_s: float = 2.0


@asynccontextmanager
async def consume(wire: Wire, wanted: Wanted, *, start: int, deadline: Deadline) -> AsyncIterator["Consumer"]:
    """A consumer of the messages from sequence `start` (at least 1) on.

    Raises:
        StoreUnavailable: The server made none in time.
    """
    while True:
        consumer = Consumer(wire.nc)
        try:
            subscription = await wire.nc.subscribe(consumer.inbox, future=AtOnce(consumer.arrive))  # type: ignore[arg-type]
        except Error as error:
            raise StoreUnavailable(f"the connection to the broker cannot be used ({error!r})") from error
        try:
            failure = await _made(wire, consumer, wanted, start, deadline)
            if failure is None:
                yield consumer
                return
        finally:
            with suppress(Error):
                await subscription.unsubscribe()
        await deadline.pause(failure)


async def stored_from(wire: Wire, subjects: str, *, start: int, timeout_s: float) -> int:
    """How many messages there are from sequence `start` on.

    A new consumer counts what is stored; an old one only what it was told of, which may be a moment later than the
    writer was.

    Raises:
        Lost, Refused
    """
    probe = Wanted("probe", subjects, linger_s=0.1)
    return await _create(wire, probe, _name(probe), start, {}, timeout_s)


async def _made(wire: Wire, consumer: "Consumer", wanted: Wanted, start: int, deadline: Deadline) -> Exception | None:
    push = {
        "deliver_subject": consumer.inbox,
        "flow_control": True,
        "idle_heartbeat": int(_HEARTBEAT_S * _NS),
    }
    try:
        consumer.stored = await _create(wire, wanted, _name(wanted), start, push, deadline.attempt_s)
    except (Lost, Refused) as error:
        return error
    return None


def _name(wanted: Wanted) -> str:
    return f"{wanted.name}-{token_hex(4)}"


async def _create(wire: Wire, wanted: Wanted, name: str, start: int, more: dict[str, object], timeout_s: float) -> int:
    """Create a consumer; how many messages it will deliver of those that are there."""
    config = {
        "name": name,
        "filter_subject": wanted.subjects,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": start,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": int(wanted.linger_s * _NS),
        **more,
    }
    request = json.dumps({"stream_name": EVENT_STREAM, "action": "create", "config": config}).encode()
    subject = f"$JS.API.CONSUMER.CREATE.{EVENT_STREAM}.{name}.{wanted.subjects}"
    info = parse(await wire.ask(subject, request, timeout_s=timeout_s))
    return int(info["num_pending"]) + int(info["delivered"]["consumer_seq"])


class Consumer:
    """What one consumer delivers."""

    def __init__(self, nc: Client) -> None:
        self.nc = nc
        self.inbox = nc.new_inbox()
        self.stored = 0
        """How many messages there were when it was made."""
        self._arrived: deque[Msg] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._delivered = 0

    def arrive(self, message: Msg) -> None:
        """Called by the connection for each message, in order."""
        self._arrived.append(message)
        self._wake()

    async def take(self) -> Stored | None:
        """The next message, or None if the consumer is dead, silent, or has lost one."""
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
        """Whether a message has arrived before the silence was too long."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        alarm = loop.call_later(_SILENCE_S, self._wake)
        try:
            await self._waiter
        finally:
            alarm.cancel()
        return bool(self._arrived)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

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
