"""One connection to the broker, for as long as its rights last; `_link` opens the next one."""

import asyncio
import itertools
import re
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import nats.errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from dominie._credentials import Credentials
from dominie.wire import Wire
from dominie_contracts.heard import AtOnce
from dominie_contracts.subjects import broker_urls

CONNECT_TIMEOUT_S = 2
"""A broker whose callout has nobody to ask pings after 2 s, which nats-py takes for a welcome."""
FLUSH_S = 3600
GATHER_S = 0.01
"""How long answers gather before one round trip vouches for all of them."""
PING_S = 10
_VIOLATION = re.compile(r'permissions violation for (publish|subscription) to "([^"]+)"')


class NotConnected(Exception):
    """The broker could not be reached, or did not answer."""


class Denied(NotConnected):
    """The broker refused who we are."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The broker refused one publish."""

    connection: "Connection"


@dataclass(frozen=True, slots=True)
class Gone:
    """The connection that a request was sent on is no more."""

    connection: "Connection"


Outcome = Msg | Refused | Gone
Hear = Callable[[Outcome], None]


@dataclass(eq=False, slots=True)
class Subscription:
    """What to hear, on this connection and on each one after it; `heard` is called in the loop that reads."""

    subject: str
    heard: Callable[[Msg], None]
    queue: str = ""


class Connection:
    """A nats-py client that never reconnects: it works, or it is closed and says so to everybody who waits."""

    def __init__(self, credentials: Credentials, lost: "Callable[[Connection], None]") -> None:
        self._credentials = credentials
        self._lost = lost
        self._nats = Wire()
        self._waiting: dict[str, tuple[str, Hear]] = {}
        self._names = itertools.count()
        self._inbox = f"{credentials.inbox_prefix}.{uuid.uuid4().hex}"
        self._subscribed: dict[Subscription, NatsSubscription] = {}
        self._refused: set[str] = set()
        self.opened_s = time.monotonic()
        self.closed = asyncio.Event()
        self._shut = asyncio.Event()
        self._round_trip = asyncio.Lock()
        self._unvouched: list[asyncio.Future[bool]] = []
        self._vouching: set[asyncio.Task[None]] = set()
        self._flushing: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None
        self.idle = asyncio.Event()
        self.idle.set()
        self.why = ""

    async def open(self) -> None:
        """Connect, and take replies.

        Raises:
            Denied: The broker refused us.
            NotConnected: It did not answer.
        """
        who = self._credentials
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S + 1):
                await self._nats.connect(
                    broker_urls(who.url),
                    name=who.principal,
                    nkeys_seed_str=who.keys.seed,
                    token=who.assertion,
                    inbox_prefix=who.inbox_prefix,
                    allow_reconnect=False,
                    max_reconnect_attempts=1,
                    reconnect_time_wait=0,
                    connect_timeout=CONNECT_TIMEOUT_S,
                    ping_interval=PING_S,
                    error_cb=self._error,
                    closed_cb=self._closed,
                )
                if not self._nats.is_connected:
                    raise NotConnected(f"the broker at {who.url} took the connection and did not welcome it")
                self.opened_s = time.monotonic()
                await self._hear(f"{self._inbox}.*", "", self._replied)
                await self._flush()
        except (OSError, TimeoutError, nats.errors.Error) as error:
            raise await self._failed(error) from error
        except BaseException:
            await self.close()
            raise

    async def _failed(self, error: Exception) -> NotConnected:
        await self.close()
        if "authorization violation" in f"{error} {self.why}".lower():
            return Denied(f"the broker at {self._credentials.url} refuses {self._credentials.principal!r}")
        return NotConnected(f"no broker answers at {self._credentials.url} ({type(error).__name__}: {error})")

    @property
    def alive(self) -> bool:
        """Whether it can still be used."""
        return not self.closed.is_set()

    async def _hear(self, subject: str, queue: str, heard: Callable[[Msg], None]) -> NatsSubscription:
        return await self._nats.subscribe(subject, queue=queue, future=AtOnce(heard))  # type: ignore[arg-type]  # as one

    def expect(self, subject: str, hear: Hear) -> str:
        """A reply subject whose message, or whose failure, is heard."""
        name = str(next(self._names))
        self._waiting[name] = subject.lower(), hear
        self.idle.clear()
        if self.closed.is_set():
            hear(Gone(self))
        return f"{self._inbox}.{name}"

    def forget(self, reply: str) -> None:
        """Expect no more of this reply subject."""
        self._waiting.pop(reply.rpartition(".")[2], None)
        if not self._waiting:
            self.idle.set()

    async def publish(
        self, subject: str, data: bytes, *, reply: str = "", headers: dict[str, str] | None = None
    ) -> None:
        """Publish; silently nothing where the connection is gone, which who expects the reply is told."""
        with suppress(OSError, nats.errors.Error):
            await self._nats.publish(subject, data, reply=reply, headers=headers)

    async def deliver(self, subject: str, data: bytes) -> bool:
        """Publish, and say whether somebody heard it: the broker has it, and did not answer that nobody listens."""
        failures: list[Outcome] = []
        reply = self.expect(subject, failures.append)
        try:
            await self.publish(subject, data, reply=reply)
            return await self._vouched() and not failures
        finally:
            self.forget(reply)

    async def _vouched(self) -> bool:
        """Whether the broker has what was published until now; one round trip vouches for all who wait."""
        if not self._unvouched:
            vouching = asyncio.ensure_future(self._vouch())
            self._vouching.add(vouching)
            vouching.add_done_callback(self._vouching.discard)
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._unvouched.append(waiter)
        return await waiter

    async def _vouch(self) -> None:
        async with self._round_trip:
            await asyncio.sleep(GATHER_S)
            waiters, self._unvouched = self._unvouched, []  # what is published from here on needs the next one
            has_all = False
            try:
                await self._flush()  # a "nobody listens" is read, and heard, before the pong
                has_all = self.alive
            except (OSError, TimeoutError, nats.errors.Error):
                pass
            finally:
                for waiter in waiters:
                    if not waiter.done():
                        waiter.set_result(has_all)

    async def _flush(self) -> None:
        """Wait until the broker has all of it; one that does not answer is given up."""
        flushing = asyncio.ensure_future(self._nats.flush(timeout=FLUSH_S))
        self._flushing.add(flushing)
        flushing.add_done_callback(self._flushed)
        closed = asyncio.ensure_future(self.closed.wait())
        try:
            await asyncio.wait((flushing, closed), timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            closed.cancel()
        if not flushing.done():
            await self.close()
            raise TimeoutError
        flushing.result()

    def _flushed(self, flushing: asyncio.Task[None]) -> None:
        self._flushing.discard(flushing)
        if not flushing.cancelled():
            flushing.exception()  # whoever waits for it is told; nobody else need be

    async def subscribe(self, subscription: Subscription) -> bool:
        """Subscribe; whether the broker allows it."""
        self._refused.discard(subscription.subject.lower())
        try:
            self._subscribed[subscription] = await self._hear(
                subscription.subject, subscription.queue, subscription.heard
            )
            await self._flush()
        except (OSError, TimeoutError, nats.errors.Error):
            return False
        return subscription.subject.lower() not in self._refused

    def hears(self, subscription: Subscription) -> bool:
        """Whether it has subscribed to this."""
        return subscription in self._subscribed

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Hear no more; what the broker has sent already is still heard, for it comes before the pong."""
        found = self._subscribed.pop(subscription, None)
        if found is not None and self.alive:
            with suppress(OSError, TimeoutError, nats.errors.Error):
                await self._nats._send_unsubscribe(found._id)
                await self._flush()
                await found.unsubscribe()

    async def retire(self) -> None:
        """Take no more work, and close when nobody waits for a reply any longer."""
        for subscription in tuple(self._subscribed):
            await self.unsubscribe(subscription)
        await self.idle.wait()
        await self.close()

    async def close(self) -> None:
        """Close at once; a caller that is cancelled meanwhile still leaves nothing open."""
        if self._closing is None:
            self._closing = asyncio.ensure_future(self._close())
        try:
            await asyncio.shield(self._closing)
        except asyncio.CancelledError:
            await asyncio.wait((self._closing,))
            raise

    async def _close(self) -> None:
        with suppress(OSError, TimeoutError, AttributeError, nats.errors.Error):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._nats.close()
                await self._shut.wait()  # where nats-py was closing already, its own close returns before the end
        for flushing in tuple(self._flushing):
            flushing.cancel()
        self._gone()

    def _replied(self, message: Msg) -> None:
        found = self._waiting.get(message.subject.rpartition(".")[2])
        if found is not None:
            found[1](message)

    async def _error(self, error: Exception) -> None:
        self.why = str(error)
        found = _VIOLATION.search(self.why)
        if found is None:
            return
        kind, subject = found.groups()
        if kind == "subscription":
            self._refused.add(subject)
            return
        for waiting, hear in tuple(self._waiting.values()):
            if waiting == subject:
                hear(Refused(self))

    async def _closed(self) -> None:
        self._shut.set()
        self._gone()

    def _gone(self) -> None:
        if not self.closed.is_set():
            self.closed.set()
            for _, hear in tuple(self._waiting.values()):
                hear(Gone(self))
            self._lost(self)
