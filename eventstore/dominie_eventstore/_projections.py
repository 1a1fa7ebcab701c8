"""Read models: what events add up to. Dropping one and rebuilding it from the log gives the same answers."""

import asyncio
from contextlib import aclosing
from typing import Protocol, runtime_checkable

from dominie_contracts.envelope import Recorded
from dominie_eventstore._port import EventStore, Subscription


class Projection(Protocol):
    """A read model; synchronous, and told of each event of its category once, in order."""

    @property
    def position(self) -> int:
        """Of the last event that was applied; 0 before the first one."""
        ...

    def apply(self, event: Recorded) -> None:
        """Take in one event; the position becomes this event's."""
        ...

    def reset(self) -> None:
        """Forget everything; the position becomes 0."""
        ...


@runtime_checkable
class Batched(Protocol):
    """A projection that can take in many events at once while it catches up."""

    def hold(self) -> None:
        """Many events are coming: store them together."""
        ...

    def release(self) -> None:
        """Caught up: store what was held, and from now on each event by itself."""
        ...


class Projector:
    """Keeps one projection up to date with the events of one category, or of all.

    Attributes:
        caught_up: Set once the projection has seen all that was stored when it began.
    """

    def __init__(self, store: EventStore, projection: Projection, *, name: str, category: str | None = None) -> None:
        self.caught_up = asyncio.Event()
        self._store = store
        self._projection = projection
        self._name = name
        self._category = category
        self._subscription: Subscription | None = None
        self._tasks: tuple[asyncio.Task[None], ...] = ()

    async def run(self) -> None:
        """Follow, for ever.

        Raises:
            CorruptEvent, StoreUnavailable, or whatever the projection raises.
        """
        if self._projection.position > 0:
            await self._distrust()
        while True:
            try:
                await self._follow()
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            self._projection.reset()

    async def wait_for(self, position: int, timeout_s: float) -> None:
        """Wait until the projection has seen every event of its category up to a position.

        Raises:
            TimeoutError: It has not, in time.
        """
        if self._projection.position >= position and self.caught_up.is_set():
            return
        async with asyncio.timeout(timeout_s):
            await self.caught_up.wait()
            if self._projection.position < position and self._subscription is not None:
                await self._subscription.caught_up()

    async def rebuild(self) -> None:
        """Forget the projection and read everything again; returns when it has caught up, if `run` is running."""
        if not self._tasks:
            self._projection.reset()
            return
        self.caught_up.clear()
        for task in self._tasks:
            task.cancel()
        await self.caught_up.wait()

    async def _distrust(self) -> None:
        """A projection that is ahead of the log was built from another one."""
        if self._projection.position > await self._store.last_position(self._category):
            self._projection.reset()

    async def _follow(self) -> None:
        """Until a rebuild is asked for."""
        subscription = self._store.subscribe(self._name, category=self._category, after=self._projection.position)
        async with aclosing(subscription), asyncio.TaskGroup() as group:
            self._subscription = subscription
            self._tasks = (group.create_task(self._apply(subscription)), group.create_task(self._tell(subscription)))

    async def _apply(self, subscription: Subscription) -> None:
        if isinstance(self._projection, Batched):
            self._projection.hold()
        async for event in subscription:
            self._projection.apply(event)

    async def _tell(self, subscription: Subscription) -> None:
        await subscription.caught_up()
        if isinstance(self._projection, Batched):
            self._projection.release()
        self.caught_up.set()
