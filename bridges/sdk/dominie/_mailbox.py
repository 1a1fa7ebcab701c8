"""What comes for one who waits, in order."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class Mailbox(Generic[T]):
    """A queue for one reader who waits only so long, of one event loop."""

    __slots__ = ("_came", "_reader")

    def __init__(self) -> None:
        self._came: deque[T] = deque()
        self._reader: asyncio.Future[None] | None = None

    def put(self, something: T) -> None:
        """Put something in."""
        self._came.append(something)
        self._wake()

    async def get(self, timeout_s: float) -> T | None:
        """The next that came; None: nothing did in time."""
        if not self._came:
            loop = asyncio.get_running_loop()
            self._reader = loop.create_future()
            timer = loop.call_later(timeout_s, self._wake)
            try:
                await self._reader
            finally:
                timer.cancel()
        return self._came.popleft() if self._came else None

    def _wake(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
