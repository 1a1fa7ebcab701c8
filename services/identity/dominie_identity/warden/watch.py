"""The warden: sends out of the broker whoever is suspended or revoked, or has a key no more; suspends who floods.

Who floods is out first, and kept out; that it is suspended is written right after.
"""

import time
import uuid
from collections.abc import Sequence
from functools import partial

import anyio
import structlog
from anyio.abc import TaskGroup

from dominie_contracts import Problem, StreamName
from dominie_contracts.identity import PRINCIPAL
from dominie_contracts.rights import WARDEN
from dominie_contracts.subjects import PLATFORM
from dominie_eventstore import StoreUnavailable
from dominie_identity.adapters.system_account import SystemAccount
from dominie_identity.adapters.writer import PrincipalWriter
from dominie_identity.aggregate import PrincipalEvent, State, suspend
from dominie_identity.projection import Principals
from dominie_identity.warden.flooding import FORGET_S, Allowance, Connected, Flood, Holds, Meter
from dominie_identity.warden.rounds import Page, Rounds
from dominie_kit import Context
from dominie_kit.context import deadline_in

AGAIN_S = 1.0
"""Who was let in while its identity was taken away is found by a second look."""
HOLD_S = 60.0
"""A person who floods is not suspended, but stays out for so long: nobody else could let a last developer in again."""
CALM_TIMES, CALM_AFTER_S = 5, 1.0
"""Where nobody has sent anything for so long, it is looked so many times as seldom: a flood would hurt nobody else."""
LIST_ALL_S = 10.0
SUBSCRIPTION = 10
"""A refused subscription counts as so many messages."""
_WRITE_S, _PAUSE_S = 5.0, 0.5
log = structlog.get_logger()


class Warden:
    """Looks at who is connected and sends how much, again and again."""

    def __init__(
        self,
        account: SystemAccount,
        principals: Principals,
        writer: PrincipalWriter,
        holds: Holds,
        *,
        allowed: Allowance,
        watch_s: float,
    ) -> None:
        self._account = account
        self._principals = principals
        self._writer = writer
        self._holds = holds
        self._meter = Meter(allowed)
        self._watch_s = watch_s
        self._rounds = Rounds()
        self._active_s = 0.0
        self._group: TaskGroup | None = None

    async def run(self) -> None:
        """Watch for as long as the service lives; begun when the read models have caught up."""
        async with anyio.create_task_group() as group:
            self._group = group

            def stopped(tenant: str, principal: str) -> None:
                group.start_soon(self._end, (tenant, principal))

            self._account.on_page = lambda page: self._look(page, group)
            self._account.on_found = lambda page: self._judge(page, group)
            self._principals.on_stopped = stopped
            listed_s = 0.0
            while True:
                now_s = time.monotonic()
                if now_s - listed_s >= LIST_ALL_S:
                    self._meter.keep_servers(self._rounds.list_all(now_s))
                    listed_s = now_s
                if not self._rounds.is_open(now_s):
                    await self._account.look()
                await anyio.sleep(self._watch_s * (1 if now_s - self._active_s < CALM_AFTER_S else CALM_TIMES))

    def subscribed(self, tenant: str, principal: str, count: int) -> None:
        """So many subscriptions were refused to a principal, which no server counts: they are dear, and in its log."""
        flood = self._meter.charge((tenant, principal), count * SUBSCRIPTION, time.time())
        if flood is not None and self._group is not None and self._principals.knows(tenant, principal):
            self._stop(flood, self._group)

    def _look(self, page: Page, group: TaskGroup) -> None:
        """Take in a page of those who sent last, and ask for the next one where it does not hold all of them."""
        covered_s = self._rounds.covered_s(page.server)
        if any(connection.active_s > covered_s for connection in page.connections):
            self._active_s = time.monotonic()
        self._judge(page, group)
        next_ = self._rounds.turn(page, time.monotonic())
        if next_.offset is not None:
            group.start_soon(partial(self._account.look, server=page.server, offset=next_.offset))
        elif next_.listed_since_s is not None:
            self._meter.keep(page.server, next_.listed_since_s)

    def _judge(self, page: Page, group: TaskGroup) -> None:
        found = self._meter.look(page.connections, covered_s=self._rounds.covered_s(page.server))
        for flood in found:
            self._stop(flood, group)
        if out := [each for each in page.connections if self._is_out(each) or self._is_outdated(each)]:
            group.start_soon(self._kick, out)
        self._meter.drain(page.at_s - FORGET_S)

    def _stop(self, flood: Flood, group: TaskGroup) -> None:
        if not self._is_out(flood):
            hold_s = HOLD_S if flood.principal.startswith("u-") else float("inf")
            self._holds.hold(flood.tenant, flood.principal, until_s=time.monotonic() + hold_s)
            group.start_soon(self._flooded, flood)

    def _is_out(self, who: Connected | Flood) -> bool:
        held = self._holds.holds(who.tenant, who.principal, now_s=time.monotonic())
        return held or self._principals.is_stopped(who.tenant, who.principal)

    def _is_outdated(self, each: Connected) -> bool:
        """Whether it was made with a key that was replaced since, and is not taken any more."""
        return not self._principals.keeps(each.tenant, each.principal, since_s=each.since_s, now_s=time.time())

    async def _kick(self, connections: Sequence[Connected]) -> None:
        for connection in connections:
            await self._account.kick(connection)

    async def _end(self, who: tuple[str, str]) -> None:
        """End the connections of one principal."""
        await self._account.find(*who)
        await anyio.sleep(AGAIN_S)
        await self._account.find(*who)

    async def _flooded(self, flood: Flood) -> None:
        log.warning("warden.flood", tenant=flood.tenant, principal=flood.principal, reason=flood.words)
        await self._account.find(flood.tenant, flood.principal)
        if flood.principal.startswith("u-"):
            return
        while not await self._suspend(flood):  # noqa: ASYNC110 - the log is away, and nobody tells
            await anyio.sleep(_PAUSE_S)
        self._holds.release(flood.tenant, flood.principal)

    async def _suspend(self, flood: Flood) -> bool:
        """Write that it is suspended; whether that is so now, or it is nobody any more."""

        def change(state: State) -> list[PrincipalEvent]:
            registered = state.registered
            return [] if registered is None else suspend(state, registered, by=WARDEN, reason=flood.words)

        context = Context(tenant=PLATFORM, principal=WARDEN, key=uuid.uuid4().hex, deadline=deadline_in(_WRITE_S))
        try:
            await self._writer.write(StreamName(flood.tenant, PRINCIPAL, flood.principal), change, context)
        except (Problem, StoreUnavailable) as error:
            log.warning("warden.unwritten", principal=flood.principal, error=str(error))
            return False
        return True
