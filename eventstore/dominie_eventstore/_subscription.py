"""Events out of JetStream's messages, as they come."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

from dominie_contracts.envelope import Recorded
from dominie_contracts.subjects import SEGMENT
from dominie_eventstore._follower import Follower
from dominie_eventstore._seal import record
from dominie_eventstore._wire import Stored


class JetStreamSubscription:
    """See `Subscription`."""

    def __init__(self, follower: Follower, after: int) -> None:
        self._follower = follower
        self._events = _events(follower, after)

    def __aiter__(self) -> "JetStreamSubscription":
        return self

    async def __anext__(self) -> Recorded:
        return await anext(self._events)

    async def aclose(self) -> None:
        """See `Subscription.aclose`."""
        await self._events.aclose()

    async def caught_up(self) -> None:
        """See `Subscription.caught_up`."""
        await self._follower.caught_up()


async def _events(follower: Follower, after: int) -> AsyncGenerator[Recorded, None]:
    async with aclosing(follower.messages()) as messages:
        async for message in messages:
            for event in events_of(message):
                if event.position > after:
                    yield event


def events_of(message: Stored) -> tuple[Recorded, ...]:
    """The events of one message."""
    return record(message.data.split(b"\n"), SEGMENT, message.sequence, message.subject.removeprefix("evt."))
