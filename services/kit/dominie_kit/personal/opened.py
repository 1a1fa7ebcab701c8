"""The event log as the people of its events meant them: what is read from it is opened on the way."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Sequence

import anyio
import structlog

from dominie_contracts import Draft, Recorded, StreamName, Unavailable
from dominie_eventstore import Appended, Durability, EventStore, Subscription
from dominie_kit.personal.keyring import INDEX, Keyring

_PAUSE_S = 0.2
log = structlog.get_logger()


class OpenedStore:
    """An event store whose events are opened with the keys at hand; see `EventStore`."""

    def __init__(self, store: EventStore, keyring: Keyring, *, indexed: bool = False) -> None:
        self._store = store
        self._keyring = keyring
        self._indexed = indexed

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        """Write drafts, which are sealed already."""
        return await self._store.append(stream, drafts, expected_version=expected_version, timeout_s=timeout_s)

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        """The events of one stream.

        Raises:
            Unavailable: Identity does not say what the keys are.
        """
        return await self._keyring.open(await self._store.read(stream, after_version=after_version, near=near))

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        """All events (of one category)."""
        async for event in self._store.read_all(category=category, after=after, until=until):
            (opened,) = await self._keyring.open([event])
            await self._load_index(event)
            yield opened

    def subscribe(
        self, name: str, *, category: str | None = None, after: int = 0, skip: Collection[str] = ()
    ) -> Subscription:
        """All events, and then each new one; while identity is away, they wait."""
        subscription = self._store.subscribe(name, category=category, after=after, skip=skip)
        return _Opened(subscription, self._keyring, self._load_index)

    async def _load_index(self, event: Recorded) -> None:
        """Have the key of the tenant's index at hand, for who writes terms."""
        if self._indexed:
            await self._keyring.of(StreamName.parse(event.stream).tenant, INDEX)

    async def last_position(self, category: str | None = None) -> int:
        """The position of the last stored event."""
        return await self._store.last_position(category)

    async def durability(self) -> Durability:
        """How the log is kept."""
        return await self._store.durability()


class _Opened:
    """See `Subscription`."""

    def __init__(
        self, subscription: Subscription, keyring: Keyring, prepare: Callable[[Recorded], Awaitable[None]]
    ) -> None:
        self._subscription = subscription
        self._keyring = keyring
        self._prepare = prepare

    def __aiter__(self) -> "_Opened":
        return self

    async def __anext__(self) -> Recorded:
        event = await anext(self._subscription)
        while True:
            try:
                await self._keyring.load([event])
                await self._prepare(event)
                return self._keyring.opened(event)
            except Unavailable as problem:
                log.warning("personal.waits", position=event.position, error=problem.detail)
                await anyio.sleep(_PAUSE_S)

    async def aclose(self) -> None:
        """See `Subscription`."""
        await self._subscription.aclose()

    async def caught_up(self) -> None:
        """See `Subscription`."""
        await self._subscription.caught_up()
