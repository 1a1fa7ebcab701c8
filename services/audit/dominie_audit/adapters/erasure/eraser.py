"""Erases a person: collects what to look for, has identity destroy the keys, waits, looks, and signs the outcome."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
from anyio import from_thread
from anyio.lowlevel import checkpoint
from anyio.to_thread import run_sync
from pydantic import JsonValue

from dominie.notes import Signer
from dominie_audit.adapters.erasure.deployed import Deployed
from dominie_audit.adapters.erasure.needles import Needles, Sample, pieces_of_key
from dominie_audit.adapters.erasure.residue import Looked, Stored, Wanted, look
from dominie_audit.adapters.tlog.published import Published
from dominie_audit.aggregate import Row, tenants_seen
from dominie_audit.projection import Log
from dominie_contracts import Recorded
from dominie_contracts.artifact import names
from dominie_contracts.audit import Erasing, Erasure, ErasureStage, Receipt
from dominie_contracts.guardrail import POLICY
from dominie_contracts.identity import Erase, Forgotten
from dominie_contracts.model import OFFER
from dominie_contracts.personal import key_ids, open_parts
from dominie_contracts.registry import EVENTS
from dominie_contracts.tool import CATALOG
from dominie_eventstore import EventStore
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.heartbeats import Heartbeats
from dominie_kit.personal.keyring import Keyring

TITLE = "dominie erasure receipt v1"
_ROWS = 200
"""Events at once: between two pages the service does something else."""
_SAID = ("arguments", "result", "text", "note", "problem.detail")
"""What is looked for afterwards: what was said. The rest of what is sealed are names and numbers that repeat."""
_OF_NOBODY = (POLICY, CATALOG, OFFER)
_DESTROY_S = 30.0
"""How long identity has to destroy the key, however much of the caller's time went into reading."""
_CHECKPOINT_S = 5.0
_POLL_S = 0.1


@dataclass(slots=True)
class _Under:
    """The erasure that is under way."""

    stage: ErasureStage = "collecting"
    position: int = 0
    services: frozenset[str] = frozenset()
    looked: Looked = field(default_factory=Looked)


class Eraser:
    """Erases one person at a time."""

    def __init__(
        self,
        store: EventStore,
        log: Log,
        keyring: Keyring,
        published: Published,
        signer: Signer,
        heartbeats: Heartbeats,
        deployed: Deployed,
        stored: Stored,
        receipts: Path,
        identity: Callable[[Context, Erase], Awaitable[Forgotten]],
        beginning: Callable[[str, str], Awaitable[str]],
        *,
        elsewhere: tuple[str, ...] = (),
        timeout_s: float,
    ) -> None:
        """`beginning` reads some of an artifact; `elsewhere` names the stores whose files are not among `stored`."""
        self._store = store
        self._log = log
        self._keyring = keyring
        self._published = published
        self._signer = signer
        self._heartbeats = heartbeats
        self._deployed = deployed
        self._stored = stored
        self._receipts = receipts
        self._elsewhere = elsewhere
        self._identity = identity
        self._beginning = beginning
        self._timeout_s = timeout_s
        self._one = anyio.Lock()
        self._under: _Under | None = None
        self._last: tuple[tuple[str, str, str, str], Erasure] | None = None
        """The last command that was answered: who asks for longer than that took gets the same receipt."""

    @property
    def erasing(self) -> Erasing:
        """How far it is with the erasure that is under way."""
        if (under := self._under) is None:
            return Erasing()
        looked = under.looked
        return Erasing(
            stage=under.stage,
            waits_for=self._heartbeats.late(under.position, under.services) if under.stage == "rebuilding" else (),
            files=looked.files.total(),
            read_bytes=looked.read_bytes,
            all_bytes=looked.all_bytes,
        )

    async def erase(self, subject: str, context: Context) -> Erasure:
        """Erase a person; asked again it does what is left to do, and signs another receipt."""
        name = (context.tenant, context.principal, context.key, subject)
        async with self._one:
            if self._last is not None and self._last[0] == name:
                return self._last[1]
            self._under = under = _Under()
            try:
                erasure = await self._erase(subject, context, under)
            finally:
                self._under = None
            self._last = name, erasure
            return erasure

    async def _erase(self, subject: str, context: Context, under: _Under) -> Erasure:
        under.services = await self._deployed.services()  # asked before anything is destroyed: the log may be away
        wanted = await self._wanted(context.tenant, subject)
        under.stage = "destroying"
        erase = Erase(tenant=context.tenant, principal=subject, by=context.principal)
        forgotten = await self._identity(replace(context, deadline=deadline_in(_DESTROY_S)), erase)
        context.position = under.position = forgotten.position
        under.stage = "rebuilding"
        rebuilt, late = await self._heartbeats.forgotten(under.position, under.services, self._timeout_s)
        under.stage, looked = "reading", under.looked
        await run_sync(lambda: look(self._stored, wanted, looked, between=from_thread.check_cancelled))
        receipt = Receipt(
            tenant=context.tenant,
            subject=subject,
            by=context.principal,
            time=datetime.now(UTC).isoformat(timespec="milliseconds"),
            keys=forgotten.keys,
            position=forgotten.position,
            held={store: count for store, count in looked.held.items() if count},
            needles=len(wanted.readable),
            files=looked.files.total(),
            stores=dict(looked.files),
            read_bytes=looked.read_bytes,
            residue=tuple(sorted(looked.residue)),
            unread=tuple(sorted(looked.unread)),
            elsewhere=self._elsewhere,
            rebuilt=rebuilt,
            late=late,
            checkpoint=await self._checkpoint(forgotten.position),
        )
        note = self._signer.sign(f"{TITLE}\n{receipt.model_dump_json()}\n")
        await run_sync(self._keep, receipt, note)
        return Erasure(receipt=receipt, note=note, key=str(self._published.key))

    def _keep(self, receipt: Receipt, note: str) -> None:
        """Whoever asked may be gone, and what was said cannot be looked for a second time."""
        self._receipts.mkdir(exist_ok=True)
        (self._receipts / f"{receipt.tenant}.{receipt.subject}.{receipt.time}").write_text(note)

    async def _wanted(self, tenant: str, subject: str) -> Wanted:
        """What is looked for, known while their key is there, and kept in memory until the end.

        What also stands in the clear part of their events, or in what is said of nobody, says nothing of them.
        """
        sample, ids = Sample(), set[str]()
        async for events in self._sealed(tenant, subject):
            opened = await self._keyring.open(events)
            ids |= {id_ for event in events for id_ in key_ids(event.raw)}
            await run_sync(_take, sample, events, opened)
            for name in {name for event in opened for name in names(event.envelope.data)}:
                await run_sync(sample.add, [await self._beginning(tenant, name)])
        known = await run_sync(Needles, sample.pieces)
        clear = set[bytes]()
        async for raw in self._clear(tenant, subject):
            clear |= await run_sync(known.found_in, raw)
        keys = await self._keyring.secrets(tenant, sorted(ids))
        secret = [piece for key in keys for piece in pieces_of_key(key)]
        return await run_sync(Wanted.of, [*(set(known.all) - clear), *secret], [f"{id_}.".encode() for id_ in ids])

    async def _sealed(self, tenant: str, subject: str) -> AsyncIterator[list[Recorded]]:
        after = 0
        while rows := self._log.of_user(tenant, subject, after=after, limit=_ROWS):
            after = rows[-1].position
            yield [_recorded(row) for row in rows if key_ids(row.raw)]
            await checkpoint()

    async def _clear(self, tenant: str, subject: str) -> AsyncIterator[bytes]:
        async for events in self._sealed(tenant, subject):
            yield b"\n".join(event.raw for event in events)
        for category in _OF_NOBODY:
            async with aclosing(self._store.read_all(category=category)) as found:  # type: ignore[type-var]
                async for event in found:
                    if event.envelope.tenant in tenants_seen(tenant):
                        yield event.raw

    async def _checkpoint(self, position: int) -> str:
        """The last checkpoint, once the event is in it; the last one there is when that takes too long."""
        for _ in range(int(_CHECKPOINT_S / _POLL_S)):
            if self._covers(position):
                break
            await anyio.sleep(_POLL_S)
        latest = self._published.latest()
        return latest.note if latest else ""

    def _covers(self, position: int) -> bool:
        latest = self._published.latest()
        return latest is not None and self._published.tiles.index_of(position, latest.checkpoint.size) is not None


def _recorded(row: Row) -> Recorded:
    return Recorded(row.position, row.raw)


def _take(sample: Sample, sealed: list[Recorded], opened: list[Recorded]) -> None:
    for event, plain in zip(sealed, opened, strict=True):
        sample.add(_said(event, plain))


def _said(sealed: Recorded, opened: Recorded) -> Iterator[JsonValue]:
    """What somebody said in an event, opened."""
    found = list[str]()

    def note(path: str, value: JsonValue) -> JsonValue:
        found.append(path)
        return value

    open_parts(EVENTS[sealed.type], sealed.envelope.data, note)
    for path in found:
        if path in _SAID:
            yield _part(opened.envelope.data, path)


def _part(data: JsonValue, path: str) -> JsonValue:
    for name in path.split("."):
        data = data[int(name)] if isinstance(data, list) else data[name] if isinstance(data, dict) else None
    return data
