"""Audit's commands; all of them only read."""

from dominie_audit.adapters.offline import check
from dominie_audit.aggregate import check_reader, entries, view
from dominie_audit.projection import Log
from dominie_contracts import Unavailable
from dominie_contracts.audit import Entries, ListRuns, LogReport, Runs, Search, Trail, VerifyLog
from dominie_eventstore import EventStore, StoreUnavailable
from dominie_kit import Context

_TRAIL_EVENTS = 5_000


class Handlers:
    """Answers `trail`, `search`, `runs` and `verify`, for developers and auditors."""

    def __init__(self, store: EventStore, log: Log, *, reply_bytes: int) -> None:
        self._store = store
        self._log = log
        self._reply_bytes = reply_bytes

    async def trail(self, command: Trail, context: Context) -> Entries:
        """Every event of one run, in order."""
        await self._admit(context)
        rows = self._log.trail(context.tenant, command.run, after=command.after, limit=_TRAIL_EVENTS + 1)
        more = len(rows) > _TRAIL_EVENTS
        return entries(rows[:_TRAIL_EVENTS], more=more, max_bytes=self._reply_bytes)

    async def search(self, command: Search, context: Context) -> Entries:
        """The latest events that fit, oldest first."""
        await self._admit(context)
        rows = self._log.search(context.tenant, command, limit=command.limit + 1)
        latest = entries(rows[: command.limit], more=len(rows) > command.limit, max_bytes=self._reply_bytes)
        return Entries(entries=latest.entries[::-1], truncated=latest.truncated)

    async def runs(self, command: ListRuns, context: Context) -> Runs:
        """The latest runs, latest first."""
        await self._admit(context)
        found = self._log.runs(context.tenant, command.limit)
        return Runs(runs=tuple(view(row, self._log.steps(context.tenant, row.run)) for row in found))

    async def verify(self, command: VerifyLog, context: Context) -> LogReport:
        """Check every stream's hash chain, from the log itself and not from any copy."""
        check_reader(context.principal, context.groups)
        try:
            return await check(self._store.read_all())
        except StoreUnavailable as error:
            raise Unavailable(f"the log cannot be read: {error}", retry_after_s=1) from error

    async def _admit(self, context: Context) -> None:
        check_reader(context.principal, context.groups)
        await context.read_your_writes()
