"""The event store as everybody sees it, whatever stands behind."""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from dominie_contracts.envelope import Draft, Recorded
from dominie_contracts.subjects import StreamName

MAX_DRAFTS = 64
"""Events in one append."""
DEFAULT_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Appended:
    """What one append wrote; position and version are those of its last event."""

    position: int
    version: int
    _recorded: Callable[[], tuple[Recorded, ...]] = field(repr=False, compare=False)

    @property
    def recorded(self) -> tuple[Recorded, ...]:
        """The events as they are stored; most writers do not look at them again."""
        return self._recorded()


@dataclass(frozen=True, slots=True)
class Durability:
    """What an acknowledged append has behind it: nothing, a disk's fsync, or the consent of most of the replicas."""

    kind: Literal["none", "fsync", "quorum"]
    replicas: int = 1

    def __str__(self) -> str:
        return f"{self.kind} {self.replicas}" if self.kind == "quorum" else self.kind


class Subscription(Protocol):
    """Events as they come, for one reader; close it with `contextlib.aclosing`."""

    def __aiter__(self) -> AsyncIterator[Recorded]: ...

    async def __anext__(self) -> Recorded: ...

    async def aclose(self) -> None:
        """Stop; nothing of it is left in the store."""
        ...

    async def caught_up(self) -> None:
        """Wait until everything that is stored now was handed out, and the reader asked for more.

        One cheap request, however many events there are. Somebody must be reading. It waits as long as the store is
        away: put it under a timeout.
        """
        ...


class EventStore(Protocol):
    """Streams of events, each with versions from 1, all of them in one order by position."""

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        """Write 1 to 64 events after `expected_version` (0: the stream is new), all or none.

        The same events (by id) appended again at the same version are stored once and give the same answer.

        Raises:
            WrongExpectedVersion: Other events are there.
            EventTooLarge: They do not fit in one message.
            StoreUnavailable: It could not be settled within `timeout_s` (the store's own, by default).
            ValueError: The drafts are not 1 to 64 events.
        """
        ...

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        """The events of one stream with a greater version, in order; none if there is no such stream.

        Args:
            stream: Which.
            after_version: The last version that is not wanted.
            near: A position that is not beyond the first wanted event's, where one is known: a store need not look
                before it.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        ...

    def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        """All events (of one category) with a position beyond `after`, in order.

        Ends with the last one that was stored when it began, or at position `until` if that comes first. Of one
        category, on several replicas, it may lack what the replica that answers does not have yet: who must have all
        of it reads all categories, or subscribes.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        ...

    def subscribe(
        self, name: str, *, category: str | None = None, after: int = 0, skip: Collection[str] = ()
    ) -> Subscription:
        """All events (of one category) with a position beyond `after`, in order, and then each new one, for ever.

        Args:
            name: What the broker's monitoring shows, `[A-Za-z0-9_-]+`.
            category: Of which streams; every one's, by default.
            after: The last position that was seen.
            skip: Types of events that are not handed out.

        Raises:
            StoreUnavailable: It could not begin. Later the store may be away as long as it likes.
            CorruptEvent
        """
        ...

    async def last_position(self, category: str | None = None) -> int:
        """The position of the last stored event (of a category), 0 when there is none.

        One request, but it costs the broker some 35 us for each thousand streams there are: who asks often asks
        `Subscription.caught_up` instead. On several replicas, the one that answers may be behind.

        Raises:
            StoreUnavailable, CorruptEvent
        """
        ...

    async def durability(self) -> Durability:
        """How the log is kept, as its settings say now.

        Raises:
            StoreUnavailable
        """
        ...
