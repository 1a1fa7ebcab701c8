"""The warden: whoever is suspended or revoked is sent out of the broker at once, on every connection there is."""

import anyio
from anyio.abc import TaskGroup

from dominie_identity.adapters.system_account import MOST, Census, Connected, Sort, SystemAccount
from dominie_identity.projection import Principals

AGAIN_S = 1.0
"""Who was let in while its identity was taken away is found by a second look."""


class Warden:
    """Looks at who is connected, again and again."""

    def __init__(self, account: SystemAccount, principals: Principals, *, watch_s: float) -> None:
        self._account = account
        self._principals = principals
        self._watch_s = watch_s
        self._sorts: tuple[Sort, ...] = ("msgs_from",)

    async def run(self) -> None:
        """Watch for as long as the service lives; begun when the read models have caught up."""
        async with anyio.create_task_group() as group:

            def stopped(tenant: str, principal: str) -> None:
                group.start_soon(self._end, (tenant, principal))

            self._account.heard = lambda census: self._look(census, group)
            self._principals.on_stopped = stopped
            while True:
                for sort in self._sorts:
                    await self._account.ask(sort=sort)
                    await anyio.sleep(self._watch_s)

    def _look(self, census: Census, group: TaskGroup) -> None:
        # Where more are connected than a server lists, those that sent most bytes need a look of their own.
        self._sorts = ("msgs_from", "bytes_from") if census.total > MOST else ("msgs_from",)
        for connection in census.connections:
            if self._is_out(connection):
                group.start_soon(self._account.kick, connection)

    def _is_out(self, connection: Connected) -> bool:
        return self._principals.is_stopped(connection.tenant, connection.principal)

    async def _end(self, who: tuple[str, str]) -> None:
        """End the connections of one principal."""
        await self._account.ask(of=who)
        await anyio.sleep(AGAIN_S)
        await self._account.ask(of=who)
