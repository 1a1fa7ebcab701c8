"""One stream's events, in whichever segments they are: the open one first, then those before it."""

from collections.abc import Sequence

from dominie_contracts.envelope import Recorded, pack_position, unpack_position
from dominie_eventstore._consumer import Wanted
from dominie_eventstore._follower import Follower
from dominie_eventstore._log import Log
from dominie_eventstore._subscription import JetStreamSubscription
from dominie_eventstore._tails import Tails
from dominie_eventstore._wire import Deadline

_LINGER_S = 0.1


class Streams:
    """Reads single streams."""

    def __init__(self, log: Log, tails: Tails, timeout_s: float) -> None:
        self._log = log
        self._tails = tails
        self._timeout_s = timeout_s

    async def began_before(self, segment: int, name: str, deadline: Deadline) -> bool:
        """Whether the stream has events in an earlier segment; those are sealed, so the answer stays true.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        return segment > 0 and await self._log.has_before(segment, name, deadline)

    async def last(self, segment: int, name: str, deadline: Deadline) -> Recorded | None:
        """The stream's last event up to this segment.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        for earlier in range(segment, -1, -1):
            if events := await self._log.last(earlier, name, deadline):
                return events[-1]
        return None

    async def read(self, name: str, after: int, deadline: Deadline, *, near: int = 0) -> list[Recorded]:
        """The stream's events with a greater version; nothing before the position `near` is looked at.

        Raises:
            StoreUnavailable: The store did not say in time.
        """
        found: list[Recorded] = []
        first, _, _ = unpack_position(near)
        for segment in range((await self._log.catalogue.now(deadline)).open, first - 1, -1):
            begin = max(near, pack_position(segment, 0, 0))
            found = [*await self._in(segment, name, after, begin, deadline), *found]
            if found and found[0].envelope.version <= after + 1:
                break
        return [event for event in found if event.envelope.version > after]

    async def _in(self, segment: int, name: str, after: int, begin: int, deadline: Deadline) -> Sequence[Recorded]:
        """The stream's events in one segment from a position on: those of its last message, if they are enough."""
        last = await self._last_seen(segment, name, deadline)
        if not last or last[0].envelope.version <= after + 1:
            return last
        if await self._log.is_archived(segment, deadline):
            return await self._log.all_archived(segment, name)
        wanted, until = Wanted("read", name, linger_s=_LINGER_S), sequence_of(last)
        follower = Follower(self._log, wanted, after=begin, timeout_s=self._timeout_s, last=segment, until=until)
        return [event async for event in JetStreamSubscription(follower, 0)]

    async def _last_seen(self, segment: int, name: str, deadline: Deadline) -> Sequence[Recorded]:
        """The events of the stream's last message, from whichever replica; but never less than this store has seen."""
        while True:
            last = await self._log.last(segment, name, deadline)
            seen = self._tails.get(name, segment)
            if seen is None or (sequence_of(last) if last else 0) >= seen.sequence:
                return last
            await deadline.pause()


def sequence_of(events: Sequence[Recorded]) -> int:
    """The sequence in their segment of the message that these events are."""
    _, sequence, _ = unpack_position(events[0].position)
    return sequence
