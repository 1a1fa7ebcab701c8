"""Keeps a read model up to date, and rebuilds it beside the one that serves."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection
from contextlib import aclosing
from typing import cast

from dominie_contracts.envelope import Recorded
from dominie_eventstore._build import Build
from dominie_eventstore._port import EventStore, Subscription
from dominie_eventstore._projections import Projection, Stored

_TURN = 32
"""Events that a rebuild takes in before it lets others go on."""

_BEHIND_S = 0.05
"""How long a replica is given that is behind what another one told."""


def _any(event: Recorded) -> None:
    """Every event may be followed."""


class Projector:
    """Keeps one projection up to date with the events of one category, or of all.

    Attributes:
        caught_up: Set once the projection has seen all that was stored when it began.
        build: The latest building of it: at the start, or a rebuild.
        category: Whose events; all, where there is none.
    """

    def __init__(
        self,
        store: EventStore,
        projection: Projection,
        *,
        name: str,
        category: str | None = None,
        check: Callable[[Recorded], None] = _any,
        skip: Collection[str] = (),
    ) -> None:
        """Follow a category.

        Args:
            store: The log.
            projection: What is kept up to date.
            name: What the broker's monitoring shows.
            category: Of which streams; every one's, by default.
            check: Called before an event is applied; raises where nobody may go on.
            skip: Types of events that the projection makes nothing of: of new ones, it is not told.
        """
        self.caught_up = asyncio.Event()
        self.build = Build()
        self._store = store
        self._projection = projection
        self._stored = projection if isinstance(projection, Stored) else None
        self._name = name
        self.category = category
        self._check = check
        self._skip = skip
        self._subscription: Subscription | None = None
        self._applied = 0
        self._dirty = asyncio.Event()
        self._tail: list[Recorded] | None = None
        self._rebuilding = asyncio.Lock()

    @property
    def position(self) -> int:
        """The projection's."""
        return self._projection.position

    @property
    def stored(self) -> bool:
        """Whether the projection outlives its process: such a one may take long to build."""
        return self._stored is not None

    @property
    def unfinished(self) -> bool:
        """Whether a rebuild was under way when the process before this one ended."""
        return self._stored is not None and self._stored.unfinished

    @property
    def serves(self) -> bool:
        """Whether the projection may be asked: it is whole, though it may be an older version's."""
        return self.caught_up.is_set() or (self._stored is not None and self._stored.serves)

    async def run(self) -> None:
        """Follow, for ever.

        Raises:
            CorruptEvent, StoreUnavailable, or whatever the projection or the check raises.
        """
        await self._distrust()
        if self._stored is not None and self._stored.outdated:
            await self.rebuild()
        try:
            await self._follow()
        except BaseExceptionGroup as errors:
            raise errors.exceptions[0] from None

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

    async def rebuild(self, *, anew: bool = False) -> Build:
        """Build the projection anew from the log while the one there is goes on serving, then put it in its place.

        Who asks while one is under way gets another one after it. An error leaves the old one serving.

        Args:
            anew: Do not go on with what an interrupted rebuild left: the log says less now than it did then.

        Raises:
            CorruptEvent, StoreUnavailable, or whatever the projection or the check raises.
        """
        async with self._rebuilding:
            built = self._projection.fresh()
            self.build = build = Build(built.position)
            try:
                if anew and isinstance(built, Stored):
                    built.reset()
                    self.build = build = Build()
                build.end = await self._store.last_position(self.category)
                await self._build(built, build)
            except BaseException as error:
                build.fail(error)
                if isinstance(built, Stored):
                    built.close()
                raise
            finally:
                self._tail = None
            build.finish()
            return build

    async def _build(self, built: Projection, build: Build) -> None:
        following = self._subscription is not None
        await self._read(built, build, until=self._applied if following else None)
        self._tail = []
        await self._read(built, build, until=self._applied if following else None)
        for event in self._tail:
            built.apply(event)
        build.count(len(self._tail), self._applied)
        self._projection.become(built)
        self._applied = self._projection.position

    async def _read(self, built: Projection, build: Build, *, until: int | None) -> None:
        """Everything up to a position that the one that serves has seen, or, if nobody follows, all there is."""
        read = built.position
        if isinstance(built, Stored):
            built.hold()
        while True:
            events = self._store.read_all(category=self.category, after=read, until=until)
            async with aclosing(cast(AsyncGenerator[Recorded, None], events)):
                async for event in events:
                    self._check(event)
                    built.apply(event)
                    read = event.position
                    build.count(1, read)
                    if build.events % _TURN == 0:
                        await asyncio.sleep(0)
            if until is None or read >= until:
                break
            await asyncio.sleep(_BEHIND_S)  # the replica that answered does not have it yet
        if isinstance(built, Stored):
            built.release()

    async def _distrust(self) -> None:
        """A projection that is ahead of the log was built from another one."""
        last = await self._store.last_position(self.category)
        if self._projection.position > last:
            self._projection.reset()
        self.build = Build(self._projection.position, last)

    async def _follow(self) -> None:
        self._applied = self._projection.position
        subscription = self._store.subscribe(self._name, category=self.category, after=self._applied, skip=self._skip)
        async with aclosing(subscription), asyncio.TaskGroup() as group:
            self._subscription = subscription
            group.create_task(self._apply(subscription))
            group.create_task(self._store_what_is_held())
            group.create_task(self._tell(subscription))

    async def _apply(self, subscription: Subscription) -> None:
        """Apply what comes. What has come already is held, and stored when there is no more to take."""
        async for event in subscription:
            self._check(event)
            if self._stored is not None and not self._dirty.is_set():
                self._stored.hold()
                self._dirty.set()
            self._projection.apply(event)
            self._applied = event.position
            if not self.caught_up.is_set() and not self.build.done:
                self.build.count(1, event.position)
            if self._tail is not None:
                self._tail.append(event)

    async def _store_what_is_held(self) -> None:
        """Runs once `_apply` waits, and before whoever waits for the events that it took in."""
        while self._stored is not None:
            await self._dirty.wait()
            self._dirty.clear()
            self._stored.release()

    async def _tell(self, subscription: Subscription) -> None:
        await subscription.caught_up()
        if not self.build.done:
            self.build.finish()
        self.caught_up.set()
