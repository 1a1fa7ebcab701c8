"""Events out of JetStream's messages, as they come."""

from collections import deque
from collections.abc import Sequence

from dominie_contracts.envelope import Recorded
from dominie_contracts.subjects import SEGMENT
from dominie_eventstore._follower import Follower
from dominie_eventstore._seal import record
from dominie_eventstore._wire import Stored


class JetStreamSubscription:
    """See `Subscription`."""

    def __init__(self, follower: Follower, after: int) -> None:
        self._follower = follower
        self._after = after
        self._messages = follower.messages()
        self._events: deque[Recorded] = deque()

    def __aiter__(self) -> "JetStreamSubscription":
        return self

    async def __anext__(self) -> Recorded:
        while not self._events:
            message = await anext(self._messages)
            self._events.extend(events_of(message, self._after))
        return self._events.popleft()

    async def aclose(self) -> None:
        """See `Subscription.aclose`."""
        await self._messages.aclose()

    async def caught_up(self) -> None:
        """See `Subscription.caught_up`."""
        await self._follower.caught_up()


def events_of(message: Stored, after: int = 0) -> Sequence[Recorded]:
    """The events of one message with a position beyond `after`."""
    events = record(message.data.split(b"\n"), SEGMENT, message.sequence, message.subject.removeprefix("evt."))
    return events if events[0].position > after else [event for event in events if event.position > after]
