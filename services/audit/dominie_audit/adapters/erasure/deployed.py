"""Which services may hold something of a person: those that are said to run, and those that have written events."""

from contextlib import aclosing

from dominie_contracts.registry import OWNER
from dominie_eventstore import EventStore


class Deployed:
    """Asks the log, since who is away says nothing; a service that has written once is never asked for again."""

    def __init__(self, store: EventStore, services: str) -> None:
        """`services` are names, parted by commas."""
        self._store = store
        self._found = {name.strip() for name in services.split(",") if name.strip()}

    async def services(self) -> frozenset[str]:
        """Their names."""
        for category, service in OWNER.items():
            if service not in self._found and await self._has(category):
                self._found.add(service)
        return frozenset(self._found)

    async def _has(self, category: str) -> bool:
        async with aclosing(self._store.read_all(category=category)) as events:  # type: ignore[type-var]
            async for _ in events:
                return True
        return False
