"""Streams folded to a state, with snapshots: what a stream came to is remembered, so that only what is new is read."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from dominie_contracts.envelope import Recorded
from dominie_contracts.subjects import StreamName
from dominie_eventstore._port import EventStore
from dominie_eventstore._seal import digest

S = TypeVar("S")
_SIZE = 10_000


@dataclass(frozen=True, slots=True)
class Snapshot(Generic[S]):
    """What a stream came to.

    Attributes:
        state: After the event of this version.
        version: In the stream.
        position: That event's.
        digest: The SHA-256 of that event's stored bytes: the snapshot counts while the log still says so.
    """

    state: S
    version: int
    position: int
    digest: str


class Folds(Generic[S]):
    """The streams of one kind that this process read last; a snapshot lives no longer than the code that made it."""

    def __init__(
        self, store: EventStore, begin: S, evolve: Callable[[S, Sequence[Recorded]], S], *, snapshots: int = _SIZE
    ) -> None:
        """Fold.

        Args:
            store: The log.
            begin: The state of a stream that has no events; immutable, as is every other.
            evolve: The state after more events, all that are new: what is copied for them is copied once.
            snapshots: How many streams are remembered.
        """
        self._store = store
        self._begin = begin
        self._evolve = evolve
        self._size = snapshots
        self._snapshots: OrderedDict[StreamName, Snapshot[S]] = OrderedDict()

    async def load(self, stream: StreamName) -> S:
        """What a stream comes to now; a snapshot that does not fit the log is not used.

        Raises:
            StoreUnavailable, CorruptEvent, or whatever `evolve` raises
        """
        known = self._snapshots.get(stream)
        if known is not None:
            # The last event that was folded is read again: it has to be the one that it was.
            found = await self._store.read(stream, after_version=known.version - 1, near=known.position)
            if found and digest(found[0].raw) == known.digest:
                return self._fold(stream, known.state, found[1:])
            del self._snapshots[stream]
        return self._fold(stream, self._begin, await self._store.read(stream))

    def _fold(self, stream: StreamName, state: S, events: list[Recorded]) -> S:
        if events:
            state = self._evolve(state, events)
            last = events[-1]
            self._snapshots[stream] = Snapshot(state, last.envelope.version, last.position, digest(last.raw))
            self._snapshots.move_to_end(stream)
            if len(self._snapshots) > self._size:
                self._snapshots.popitem(last=False)
        return state
