"""Waiting until a count has come so far."""

import asyncio


class Waiting:
    """A count that only grows, and those who wait for it."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []

    def reached(self, count: int) -> None:
        """The count has come so far."""
        self.count = count
        if self._waiters:
            for wanted, waiter in self._waiters:
                if wanted <= count and not waiter.done():
                    waiter.set_result(None)

    async def until(self, count: int) -> None:
        """Wait until the count has come so far."""
        if self.count >= count:
            return
        entry = (count, asyncio.get_running_loop().create_future())
        self._waiters.append(entry)
        try:
            await entry[1]
        finally:
            self._waiters.remove(entry)
