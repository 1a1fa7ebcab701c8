"""Audit's commands; all of them only read."""

import base64
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

import anyio
from anyio.to_thread import run_sync

from dominie.merkle import leaf_hash
from dominie.notes import ProofProblem
from dominie_audit.adapters.offline import check
from dominie_audit.adapters.tlog.pages import encoded, page
from dominie_audit.adapters.tlog.proving import consistency, inclusion
from dominie_audit.adapters.tlog.published import Latest, Published, WitnessDiffers
from dominie_audit.adapters.tlog.tiles import Hashes, TilesDamaged
from dominie_audit.adapters.witnesses import Witnesses
from dominie_audit.aggregate import Row, asks_of, check_reader, entries, tenants_seen, view
from dominie_audit.projection import Log
from dominie_contracts import Conflict, Forbidden, Invalid, Recorded, Unavailable
from dominie_contracts.audit import (
    AskRecord,
    Entries,
    Entry,
    Export,
    FromRecord,
    GetCheckpoint,
    InclusionProof,
    Leaves,
    ListRuns,
    LogReport,
    Prove,
    Runs,
    Search,
    SignedCheckpoint,
    Trail,
    VerifyLog,
)
from dominie_contracts.forks import Fork, record, resume
from dominie_contracts.token import Fork as ForkClaim
from dominie_eventstore import EventStore, StoreUnavailable
from dominie_kit import Context
from dominie_kit.personal.keyring import Keyring

_TRAIL_EVENTS = 5_000
_CHECKPOINT_WITHIN_S = 5.0
_CHECKPOINT_POLL_S = 0.05
_FORKS = 256
"""How many forks are held in memory; another one is read from the log again."""


class Handlers:
    """Answers `trail`, `search`, `runs`, `verify`, `checkpoint`, `prove` and `export`, for developers and auditors.

    And `record`, for the services that serve a forked run.
    """

    def __init__(
        self,
        store: EventStore,
        log: Log,
        published: Published,
        witnesses: Witnesses,
        keyring: Keyring,
        *,
        reply_bytes: int,
    ) -> None:
        self._store = store
        self._keyring = keyring
        self._log = log
        self._published = published
        self._witnesses = witnesses
        self._reply_bytes = reply_bytes
        self._forks: OrderedDict[tuple[str, str], Fork] = OrderedDict()

    async def trail(self, command: Trail, context: Context) -> Entries:
        """Every event of one run, in order, up to this moment; for those, too, whom it asked for a yes."""
        with suppress(StoreUnavailable):
            context.after = max(context.after, await self._store.last_position())
        await context.read_your_writes()
        try:
            check_reader(context.principal, context.groups)
        except Forbidden:
            if not self._asks(context, command.run):
                raise
        rows = self._log.trail(context.tenant, command.run, after=command.after, limit=_TRAIL_EVENTS + 1)
        more = len(rows) > _TRAIL_EVENTS
        return entries(await self._opened(rows[:_TRAIL_EVENTS]), more=more, max_bytes=self._reply_bytes)

    def _asks(self, context: Context, run: str) -> bool:
        """Whether a run has asked this person for a yes: who decides on it sees what it has done."""
        after = 0
        person = context.principal.startswith("u-")
        while person and (rows := self._log.trail(context.tenant, run, after=after, limit=_TRAIL_EVENTS)):
            if any(asks_of(row.event, context.principal, context.groups) for row in rows):
                return True
            after = rows[-1].position
        return False

    async def record(self, command: AskRecord, context: Context) -> FromRecord:
        """What the record of a forked run's parent holds for the action that is asked now."""
        if context.fork is None or context.run is None:
            raise Invalid("this run was not forked from another", run=context.run)
        context.after = max(context.after, context.fork.at - 1)
        await context.read_your_writes()
        fork = await self._fork(context.tenant, context.run, context.fork)
        past = fork.next(command)
        return FromRecord() if past is None else FromRecord(stream=past.stream, position=past.finished)

    async def _fork(self, tenant: str, run: str, fork: ForkClaim) -> Fork:
        found = self._forks.get((tenant, run))
        if found is None:
            past = record(await self._all(tenant, fork.run, fork.at), before=fork.at)
            own = await self._all(tenant, run)
            found = self._forks.setdefault((tenant, run), resume(past, own))
            if len(self._forks) > _FORKS:
                self._forks.popitem(last=False)
        self._forks.move_to_end((tenant, run))
        return found

    async def _all(self, tenant: str, run: str, before: int | None = None) -> list[Entry]:
        found, after = list[Entry](), 0
        while rows := self._log.trail(tenant, run, after=after, limit=_TRAIL_EVENTS):
            after = rows[-1].position
            fitting = [row for row in rows if before is None or row.position < before]
            found += [row.entry for row in await self._opened(fitting)]
        return found

    async def search(self, command: Search, context: Context) -> Entries:
        """The latest events that fit, or the earliest; oldest first."""
        await self._admit(context)
        rows = self._log.search(context.tenant, command, limit=command.limit + 1)
        fitting = await self._opened(rows[: command.limit])
        found = entries(fitting, more=len(rows) > command.limit, max_bytes=self._reply_bytes)
        return found if command.earliest else Entries(entries=found.entries[::-1], truncated=found.truncated)

    async def runs(self, command: ListRuns, context: Context) -> Runs:
        """The latest runs, latest first."""
        await self._admit(context)
        found = self._log.runs(context.tenant, command.limit)
        return Runs(runs=tuple(view(row, self._log.steps(context.tenant, row.run)) for row in found))

    async def verify(self, command: VerifyLog, context: Context) -> LogReport:
        """Check chains and the last checkpoint, from the log itself and not from any copy; and with the witnesses."""
        check_reader(context.principal, context.groups)
        with _readable():
            found = await check(self._store.read_all(), self._published)
            if not found.ok:
                return found
            try:
                await self._witnesses.check()
            except WitnessDiffers as error:
                return found.model_copy(update={"ok": False, "why": str(error)})
            witnessed, names = self._witnesses.standing()
            return found.model_copy(update={"witnessed": witnessed, "witnesses": names})

    async def checkpoint(self, command: GetCheckpoint, context: Context) -> SignedCheckpoint:
        """A checkpoint; that it extends a larger one is for the asker to doubt."""
        check_reader(context.principal, context.groups)
        latest, proof = self._latest(), list[bytes]()
        asked = self._witnessed() if command.witnessed else latest
        size = asked.checkpoint.size
        if command.extends is not None and command.extends <= size:
            with _readable():
                hashes = Hashes(self._published.tiles, latest.checkpoint.size)
                proof = consistency(hashes, command.extends, size)
        return SignedCheckpoint(checkpoint=asked.note, key=str(self._published.key), proof=encoded(proof))

    async def prove(self, command: Prove, context: Context) -> InclusionProof:
        """Prove that an event which the asker may see is in the log."""
        check_reader(context.principal, context.groups)
        latest, position, tiles = self._latest(), command.position, self._published.tiles
        stored = latest.checkpoint.size
        asked = self._witnessed() if command.witnessed else latest
        with _readable():
            event = await self._event(position)
            if event is None or event.envelope.tenant not in tenants_seen(context.tenant):
                raise Invalid(f"there is no event of yours at position {position}", position=position)
            index = tiles.index_of(position, stored)
            if index is None or index >= asked.checkpoint.size:
                last = "last witnessed checkpoint" if command.witnessed else "last checkpoint"
                why = f"the event at position {position} is newer than the {last}"
                raise Unavailable(why, retry_after_s=1, position=position)
            if leaf_hash(event.raw) != tiles.leaf(index, stored):
                why = f"the event at position {position} is not the one that was recorded: run `dominie audit verify`"
                raise Conflict(why, position=position)
            proof = inclusion(Hashes(tiles, stored), index, asked.checkpoint.size)
        raw = base64.b64encode(event.raw).decode()
        return InclusionProof(position=position, index=index, raw=raw, proof=encoded(proof), checkpoint=asked.note)

    async def export(self, command: Export, context: Context) -> Leaves:
        """Events as they are stored, in order, with their places in the tree of one checkpoint."""
        await self._admit(context)
        latest = self._latest() if command.size else await self._covering(self._log.position)
        size, stored = command.size or latest.checkpoint.size, latest.checkpoint.size
        if size > stored:
            raise Invalid(f"the log has {stored} events, not {size}", size=size)
        with _readable():
            until = self._published.tiles.position(size - 1, stored) if size else 0
            rows = self._log.select(context.tenant, command, after=command.after, until=until, limit=command.limit + 1)
            fill = partial(page, stored=stored, proofs=command.proofs, max_bytes=self._reply_bytes)
            leaves = await run_sync(fill, rows[: command.limit], self._published.tiles, size)
        first = SignedCheckpoint(checkpoint=latest.note, key=str(self._published.key)) if not command.size else None
        return Leaves(leaves=leaves, truncated=len(leaves) < len(rows), checkpoint=first)

    async def _covering(self, position: int) -> Latest:
        """The first checkpoint over everything up to a position."""
        with anyio.move_on_after(_CHECKPOINT_WITHIN_S):
            while True:
                latest = self._latest()
                size = latest.checkpoint.size
                with _readable():
                    if position == 0 or (size and self._published.tiles.position(size - 1, size) >= position):
                        return latest
                await anyio.sleep(_CHECKPOINT_POLL_S)
        raise Unavailable("no checkpoint covers the latest events yet", retry_after_s=1)

    def _latest(self) -> Latest:
        with _readable():
            latest = self._published.latest()
        if latest is None:
            raise Unavailable("no checkpoint was signed yet", retry_after_s=1)
        return latest

    def _witnessed(self) -> Latest:
        with _readable():
            found = self._published.witnessed()
        if found is None:
            raise Unavailable("no checkpoint is witnessed yet: DOMINIE_AUDIT_WITNESSES says who is asked")
        return found

    async def _event(self, position: int) -> Recorded | None:
        found = [event async for event in self._store.read_all(after=position - 1, until=position)]
        return found[0] if found else None

    async def _opened(self, rows: Sequence[Row]) -> list[Row]:
        opened = await self._keyring.open([row.event for row in rows])
        return [replace(row, event=event) for row, event in zip(rows, opened, strict=True)]

    async def _admit(self, context: Context) -> None:
        check_reader(context.principal, context.groups)
        await context.read_your_writes()


@contextmanager
def _readable() -> Iterator[None]:
    """What cannot be read now is `unavailable`."""
    try:
        yield
    except StoreUnavailable as error:
        raise Unavailable(f"the log cannot be read: {error}", retry_after_s=1) from error
    except ProofProblem as error:
        raise Unavailable(f"the last checkpoint does not hold: {error.detail}") from error
    except TilesDamaged as error:
        raise Unavailable(f"the transparency log is damaged ({error}): restart audit, which rebuilds it") from error
