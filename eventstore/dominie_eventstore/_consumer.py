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
from dominie_contracts.subjects import event_subject, segment_stream
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import Stored, Wire, parse

_HEARTBEAT_S: Final = 0.5
_SILENCE_S: Final = 1.25
_NS: Final = 1_000_000_000
_TURN: Final = 64
"""Messages after which others get their turn: a reader that never has to wait would keep everybody else waiting."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a consumer is to deliver, and how long it outlives its reader."""

    name: str
    tail: str
    """What ends the subjects: a stream, or a filter of them."""
    linger_s: float = 2.0


@asynccontextmanager
async def consume(
    wire: Wire, wanted: Wanted, *, segment: int, start: int, timeout_s: float
) -> AsyncIterator["Consumer"]:
    """A consumer of a segment's messages from sequence `start` (at least 1) on.

    Raises:
        Lost, Refused: The server made none; the segment may have been removed.
        StoreUnavailable: The connection is closed for good.
    """
    consumer = Consumer(wire.nc, segment)
    try:
        subscription = await wire.nc.subscribe(consumer.inbox, future=AtOnce(consumer.arrive))  # type: ignore[arg-type]
    except Error as error:
        raise StoreUnavailable(f"the connection to the broker cannot be used ({error!r})") from error
    push = {
        "deliver_subject": consumer.inbox,
        "flow_control": True,
        "idle_heartbeat": int(_HEARTBEAT_S * _NS),
    }
    try:
        consumer.stored = await _create(wire, wanted, segment, start, push, timeout_s)
        yield consumer
    finally:
        with suppress(Error):
            await subscription.unsubscribe()


async def stored_from(wire: Wire, tail: str, *, segment: int, start: int, timeout_s: float) -> int:
    """How many messages a segment has from sequence `start` on.

    A new consumer counts what is stored; an old one only what it was told of, which may be a moment later than the
    writer was.

    Raises:
        Lost, Refused
    """
    return await _create(wire, Wanted("probe", tail, linger_s=0.1), segment, start, {}, timeout_s)


async def _create(
    wire: Wire, wanted: Wanted, segment: int, start: int, more: dict[str, object], timeout_s: float
) -> int:
    """Create a consumer; how many messages it will deliver of those that are there."""
    stream, name = segment_stream(segment), f"{wanted.name}-{token_hex(4)}"
    subjects = event_subject(segment, wanted.tail)
    config = {
        "name": name,
        "filter_subject": subjects,
        "deliver_policy": "by_start_sequence",
        "opt_start_seq": start,
        "ack_policy": "none",
        "mem_storage": True,
        "num_replicas": 1,
        "inactive_threshold": int(wanted.linger_s * _NS),
        **more,
    }
    request = json.dumps({"stream_name": stream, "action": "create", "config": config}).encode()
    info = parse(await wire.ask(f"$JS.API.CONSUMER.CREATE.{stream}.{name}.{subjects}", request, timeout_s=timeout_s))
    return int(info["num_pending"]) + int(info["delivered"]["consumer_seq"])


class Consumer:
    """What one consumer delivers."""

    def __init__(self, nc: Client, segment: int) -> None:
        self.nc = nc
        self._segment = segment
        self.inbox = nc.new_inbox()
        self.stored = 0
        """How many messages there were when it was made."""
        self.ended = False
        self._arrived: deque[Msg] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._delivered = 0
        self._given_up = False

    def arrive(self, message: Msg) -> None:
        """Called by the connection for each message, in order."""
        self._arrived.append(message)
        self._wake()

    async def take(self) -> Stored | None:
        """The next message, or None if the consumer is dead, silent, given up, or has lost one."""
        while True:
            if not self._arrived and (self._given_up or not await self._wait()):
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
            if delivered % _TURN == 0:
                await asyncio.sleep(0)
            return Stored(self._segment, sequence, message.subject, message.data)

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

    def give_up(self) -> None:
        """Wait for nothing more: something has changed, and the next consumer will know of it."""
        self._given_up = True
        self._wake()

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
