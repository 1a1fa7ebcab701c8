"""Following a database's events: one subscription after the other, each from where the last one broke off."""

from collections.abc import AsyncGenerator, Collection

from dominie_contracts.envelope import Recorded
from dominie_eventstore._waiting import Waiting
from dominie_eventstore._wire import Deadline, Lost
from dominie_eventstore.kurrentdb._database import Database
from dominie_eventstore.kurrentdb._records import recorded


class KurrentDBSubscription:
    """See `Subscription`."""

    def __init__(self, database: Database, prefix: str, after: int, skip: Collection[str], *, timeout_s: float) -> None:
        self._database = database
        self._prefix = prefix
        self._timeout_s = timeout_s
        self._after = after
        self._skip = skip
        self._done = Waiting(after)
        self._events = self._follow()

    def __aiter__(self) -> "KurrentDBSubscription":
        return self

    async def __anext__(self) -> Recorded:
        return await anext(self._events)

    async def aclose(self) -> None:
        """See `Subscription.aclose`."""
        await self._events.aclose()

    async def caught_up(self) -> None:
        """See `Subscription.caught_up`."""
        deadline = Deadline(f"asking about {self._prefix}", float("inf"))
        while True:
            try:
                last = await self._database.last_position(self._prefix)
            except Lost as error:
                await deadline.pause(error)
            else:
                await self._done.until(last)
                return

    async def _follow(self) -> AsyncGenerator[Recorded, None]:
        what = f"following {self._prefix}"
        deadline = Deadline(what, self._timeout_s)
        passed = self._after
        while True:
            try:
                attempt = self._database.following(self._prefix, passed, timeout_s=deadline.attempt_s)
                async with attempt as events:
                    deadline = Deadline(what, float("inf"))
                    async for event in events:
                        passed = max(passed, event.commit_position)
                        if event.is_checkpoint or event.commit_position <= self._after:
                            continue
                        self._after = event.commit_position
                        found = recorded(event)
                        if found.type not in self._skip:
                            yield found
                        self._done.reached(self._after)
                raise Lost(f"{what}: it ended")
            except Lost as error:
                await deadline.pause(error)
