"""Reading many messages in order: a consumer after the other, each beginning where the last one fell silent."""

from collections.abc import AsyncGenerator

from dominie_eventstore._consumer import Wanted, consume, stored_from
from dominie_eventstore._waiting import Waiting
from dominie_eventstore._wire import Deadline, Lost, Refused, Stored, Wire


class Follower:
    """Messages from sequence `start` on, in order, each once."""

    def __init__(
        self, wire: Wire, wanted: Wanted, *, start: int, timeout_s: float, for_ever: bool, until: int = 0
    ) -> None:
        """Follow.

        Args:
            timeout_s: How long the store may be away: at the beginning, and if not `for_ever`, each time.
            for_ever: Otherwise it ends with the last message that was stored when it began.
            until: A sequence that it must not end before: the replica that answers may be behind.
        """
        self._wire = wire
        self._wanted = wanted
        self._start = max(start, 1)
        self._timeout_s = timeout_s
        self._for_ever = for_ever
        self._until = until
        self._handed_out = 0
        self._behind: tuple[int, Deadline] | None = None
        """From where on there is nothing yet, and until when that may be so."""
        self._done = Waiting()

    async def messages(self) -> AsyncGenerator[Stored, None]:
        """Read them.

        Raises:
            StoreUnavailable: The store was away for too long.
        """
        left: float | None = float("inf") if self._for_ever else None
        patience_s = self._timeout_s
        while True:
            deadline = Deadline(f"reading {self._wanted.subjects}", patience_s)
            async with consume(self._wire, self._wanted, start=self._start, deadline=deadline) as consumer:
                left = consumer.stored if left is None else left
                while left and (message := await consumer.take()) is not None:
                    self._start = message.sequence + 1
                    self._handed_out += 1
                    left -= 1
                    yield message
                    self._done.reached(self._handed_out)
            if not left:
                if self._start > self._until:
                    return
                await self._another_replica()
                left = None
            patience_s = float("inf") if self._for_ever else self._timeout_s

    async def _another_replica(self) -> None:
        """Let the next consumer begin, perhaps elsewhere, where this one's replica had no more.

        Raises:
            StoreUnavailable: None has, by now.
        """
        if self._behind is None or self._behind[0] != self._start:
            self._behind = (
                self._start,
                Deadline(f"reading {self._wanted.subjects} up to {self._until}", self._timeout_s),
            )
        await self._behind[1].pause()

    async def caught_up(self) -> None:
        """Wait until every message that is stored now was handed out and done with."""
        deadline = Deadline(f"asking about {self._wanted.subjects}", float("inf"))
        while True:
            start, handed_out = self._start, self._handed_out
            try:
                more = await stored_from(self._wire, self._wanted.subjects, start=start, timeout_s=deadline.attempt_s)
            except (Lost, Refused) as error:
                await deadline.pause(error)
            else:
                await self._done.until(handed_out + more)
                return
