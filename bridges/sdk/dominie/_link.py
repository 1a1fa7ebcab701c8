"""A link to the broker that lasts: it opens connections one after another, the next before the last one's rights end.

nats-py ends closed for good when rights expire, and loses replies while it reconnects. So here each connection lives
once: at the half-life of its rights the next one takes over, and the old one stays until its replies have come.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress

from dominie._connection import Connection, Denied, NotConnected, Subscription
from dominie._credentials import Credentials
from dominie_contracts.problems import Forbidden, Problem, Unauthenticated, Unavailable, problem_from

QUICK_S = 1.2
"""A refusal that comes faster is identity's own; the broker's, when identity is away, takes 1.5 s."""
DENIALS = 3
"""So many quick refusals in a row are final, until one connection succeeds."""
RETRY_S, RETRY_MAX_S = 0.05, 2.0
CLOSE_S = 0.5
CLOSED = "this client is closed; make a new one"
SUBSCRIBE_S = 15.0
"""How long new rights may take to reach the broker."""


class Link:
    """The connection of one principal, kept up in the background of one event loop."""

    def __init__(
        self, credentials: Credentials, *, admit: Callable[[], Awaitable[None]] | None = None, new: bool = False
    ) -> None:
        """`admit` has the principal registered: before the first connection of a `new` one, else if it is refused."""
        self.credentials = credentials
        self._admit = admit
        self._new = new
        self._rights_s = credentials.rights_s
        self._current: Connection | None = None
        self._connections: set[Connection] = set()
        self._subscriptions: list[Subscription] = []
        self._changed = asyncio.Event()
        self._renew = asyncio.Event()
        self._failure: Problem | None = None
        self._why = "not tried yet"
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        """Begin to connect; the work belongs to the loop, not to the caller's task, and ends with `close`."""
        if self._task is None and not self._stopping:
            self._task = asyncio.create_task(self._keep(), name=f"dominie-link-{self.credentials.principal}")

    @property
    def ended(self) -> bool:
        """Whether it has been closed, or its loop has."""
        return self._stopping or (self._task is not None and self._task.done())

    async def close(self) -> None:
        """Close every connection."""
        self._stopping = True
        self._fail(Unavailable(CLOSED))
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait((self._task,), timeout=CLOSE_S)  # nats-py swallows a cancellation now and then

    async def ready(self, timeout_s: float) -> None:
        """Wait for a connection; raises as `connection` does."""
        await self.connection(time.monotonic() + timeout_s)

    async def connection(self, deadline_s: float) -> Connection:
        """A live connection, by `deadline_s` of the monotonic clock.

        Raises:
            Unauthenticated: The broker refuses us.
            Unavailable: There is none in time.
        """
        self.start()
        while self._current is None or not self._current.alive:
            if self._failure is not None:
                raise problem_from(self._failure.details)
            changed = self._changed
            try:
                async with asyncio.timeout(deadline_s - time.monotonic()):
                    await changed.wait()
            except TimeoutError:
                raise Unavailable(f"no connection: {self._why}; is it running? `dominie up` starts it") from None
        return self._current

    async def renewed(self, since: Connection, deadline_s: float) -> Connection:
        """A connection with newer rights than `since` has."""
        while True:
            changed = self._changed
            found = await self.connection(deadline_s)
            if found is not since:
                return found
            self._renew.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(min(1.0, max(0.0, deadline_s - time.monotonic()))):
                    await changed.wait()
            if time.monotonic() >= deadline_s:
                raise Unavailable(f"no fresh rights in time: {self._why}")

    async def subscribe(self, subscription: Subscription) -> None:
        """Hear a subject from now on, over every connection to come.

        Raises:
            Forbidden: The broker refuses it, with fresh rights too.
        """
        deadline_s, wait_s = time.monotonic() + SUBSCRIBE_S, RETRY_S
        connection = await self.connection(deadline_s)
        while not await connection.subscribe(subscription):
            if time.monotonic() + wait_s > deadline_s:
                raise Forbidden(f"{self.credentials.principal!r} may not hear {subscription.subject!r}")
            await asyncio.sleep(_jitter(wait_s))
            wait_s = min(wait_s * 2, RETRY_MAX_S)
            connection = await self.renewed(connection, deadline_s)
        self._subscriptions.append(subscription)
        if connection is not self._current and self._current is not None:
            await self._current.subscribe(subscription)

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Hear no more of it."""
        self._subscriptions.remove(subscription)
        if self._current is not None:
            await self._current.unsubscribe(subscription)

    async def _keep(self) -> None:
        try:
            async with asyncio.TaskGroup() as retiring:
                while True:
                    fresh = await self._open()
                    if self._stopping:
                        return
                    await self._resubscribe(fresh)
                    last, self._current = self._current, fresh
                    self._renew.clear()
                    self._tell()
                    if last is not None:
                        retiring.create_task(self._retire(last))
                    await self._due(fresh)
        except Exception as error:
            self._fail(Unavailable(f"the link broke: {type(error).__name__}: {error}"))
            raise
        finally:
            if self._failure is None:
                self._fail(Unavailable(CLOSED))
            await asyncio.gather(*(connection.close() for connection in tuple(self._connections)))

    async def _open(self) -> Connection:
        """The next connection, however long it takes."""
        wait_s, denials = RETRY_S, 0
        while True:
            try:
                if self._new:
                    await self._admitted()
                began_s = time.monotonic()
                self.credentials = self.credentials.fresh()
                connection = Connection(self.credentials, self._lost)
                self._connections.add(connection)
                await connection.open()
            except NotConnected as error:
                self._why = str(error)
                quick = isinstance(error, Denied) and time.monotonic() - began_s < QUICK_S
                denials = denials + 1 if quick else 0
                if denials >= DENIALS:
                    self._new = self._admit is not None
                    if not self._new and self._failure is None:
                        self._fail(Unauthenticated(f"{error}: it is not registered, was revoked, or has another key"))
            except Problem as problem:
                self._fail(problem)
            else:
                self._failure = None
                return connection
            await asyncio.sleep(_jitter(wait_s))
            wait_s = min(wait_s * 2, RETRY_MAX_S)

    async def _admitted(self) -> None:
        """Have the principal registered, once."""
        admit, self._admit = self._admit, None
        if admit is not None:
            try:
                await admit()
            except Unavailable:
                self._admit = admit
                raise
        self._new = False

    async def _due(self, connection: Connection) -> None:
        """Wait until the next connection is needed: rights half gone, asked for, or this one closed."""
        if connection.alive:
            with suppress(TimeoutError):
                async with asyncio.timeout(_jitter(self._rights_s / 2)):
                    await self._renew.wait()

    async def _resubscribe(self, fresh: Connection) -> None:
        while fresh.alive and (missing := [s for s in self._subscriptions if not fresh.hears(s)]):
            for subscription in missing:
                await fresh.subscribe(subscription)

    def _lost(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if "authentication expired" in connection.why.lower():
            self._rights_s = min(self._rights_s, time.monotonic() - connection.opened_s)
        if connection is self._current:
            self._renew.set()

    async def _retire(self, connection: Connection) -> None:
        left_s = connection.opened_s + self._rights_s * 0.9 - time.monotonic()
        try:
            async with asyncio.timeout(max(left_s, 0.1)):
                await connection.retire()
        except TimeoutError:
            pass
        finally:
            await connection.close()

    def _fail(self, problem: Problem) -> None:
        self._failure = problem
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _jitter(seconds: float) -> float:
    return seconds * random.uniform(0.8, 1.2)
