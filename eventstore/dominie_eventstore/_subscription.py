"""Events out of JetStream's messages, as they come."""

from collections import deque
from collections.abc import Collection

from dominie_contracts.envelope import Recorded
from dominie_eventstore._follower import Follower
from dominie_eventstore._log import events_of


class JetStreamSubscription:
    """See `Subscription`."""

    def __init__(self, follower: Follower, after: int, skip: Collection[str] = ()) -> None:
        self._follower = follower
        self._after = after
        self._skip = skip
        self._messages = follower.messages()
        self._events: deque[Recorded] = deque()

    def __aiter__(self) -> "JetStreamSubscription":
        return self

    async def __anext__(self) -> Recorded:
        while not self._events:
            message = await anext(self._messages)
            self._events.extend(events_of(message, self._after, self._skip))
        return self._events.popleft()

    async def aclose(self) -> None:
        """See `Subscription.aclose`."""
        await self._messages.aclose()

    async def caught_up(self) -> None:
        """See `Subscription.caught_up`."""
        await self._follower.caught_up()
