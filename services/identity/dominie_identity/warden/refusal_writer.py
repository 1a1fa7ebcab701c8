"""Writes what was refused: by the callout, by the broker as its log says, and by the edges of all services."""

import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel
import structlog

from dominie_contracts import Problem, Recorded, StreamName
from dominie_contracts.identity import REFUSALS, Done, Refusals, Refused, ReportRefusals
from dominie_contracts.rights import WARDEN
from dominie_contracts.subjects import PLATFORM
from dominie_eventstore import EventStore, Folds, StoreUnavailable, WrongExpectedVersion
from dominie_identity.adapters.broker_log import SUBSCRIBE, BrokerLog
from dominie_identity.warden.refusals import RefusalLog
from dominie_kit import Actions, Context
from dominie_kit.context import deadline_in
from dominie_kit.edge.refusals import RefusalTally

EVERY_S = 0.25
_DEADLINE_S, _TRIES = 5.0, 8
log = structlog.get_logger()


class RefusalWriter:
    """Gathers refusals, and appends an event for many; one stream a principal."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        refusals: RefusalLog,
        *,
        broker_log: BrokerLog,
        edge: RefusalTally,
        on_subscribed: Callable[[str, str, int], None],
    ) -> None:
        self._store = store
        self._actions = actions
        self._refusals = refusals
        self._broker_log = broker_log
        self._edge = edge
        self._on_subscribed = on_subscribed
        self._versions = Folds(store, 0, _version)

    async def report(self, command: ReportRefusals, context: Context) -> Done:
        """What a service's edge refused."""
        self._count(command.refusals)
        return Done()

    def refused(self, who: str, why: str) -> None:
        """The callout refused a connection."""
        tenant, _, principal = who.partition("/")
        self._refusals.note(tenant, principal, f"connect: {why}", now_s=time.time())

    async def run(self) -> None:
        """Read the broker's log and write what is due, for as long as the service lives."""
        while True:
            while found := self._broker_log.read():
                for (tenant, principal, what), count in found.items():
                    self._refusals.note(tenant, principal, what, count, now_s=time.time())
                    if what.startswith(SUBSCRIBE):
                        self._on_subscribed(tenant, principal, count)
                await anyio.lowlevel.checkpoint()
            self._count(self._edge.take())
            await self._write_due()
            await anyio.sleep(EVERY_S)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """What is counted when the service ends is written, if it still can be."""
        try:
            yield
        finally:
            with anyio.move_on_after(_DEADLINE_S, shield=True):
                await self._write_due(all_=True)
            self._broker_log.close()

    def _count(self, refusals: Iterable[Refusals]) -> None:
        for each in refusals:
            for found in each.counts:
                self._refusals.note(each.tenant, each.principal, found.what, found.count, now_s=time.time())

    async def _write_due(self, *, all_: bool = False) -> None:
        for event in self._refusals.due(time.time(), all_=all_):
            try:
                await self._write(event)
            except (Problem, StoreUnavailable) as error:  # it counts on; what was stored all the same counts twice
                log.warning("refusals.unwritten", principal=event.principal, error=str(error))
                for each in event.counts:
                    self._refusals.note(event.tenant, event.principal, each.what, each.count, now_s=time.time())

    async def _write(self, event: Refused) -> None:
        stream = StreamName(event.tenant, REFUSALS, event.principal)
        context = Context(tenant=PLATFORM, principal=WARDEN, key=uuid.uuid4().hex, deadline=deadline_in(_DEADLINE_S))
        for _ in range(_TRIES):
            version = await self._versions.load(stream)
            try:
                await self._store.append(stream, self._actions.drafts(context, stream, event), expected_version=version)
                return
            except WrongExpectedVersion:  # another instance was first
                continue
        raise StoreUnavailable(f"others write to {stream}")


def _version(version: int, events: Sequence[Recorded]) -> int:
    return events[-1].envelope.version
