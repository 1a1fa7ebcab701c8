"""Erases a person: collects what to look for, has identity destroy the keys, waits, looks, and signs the outcome."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import anyio
from anyio.to_thread import run_sync
from pydantic import JsonValue

from dominie.notes import Signer
from dominie_audit.adapters.erasure.residue import Needles, held, pieces_of, pieces_of_key, residue
from dominie_audit.adapters.tlog.published import Published
from dominie_audit.aggregate import Row
from dominie_audit.projection import Log
from dominie_contracts import Recorded
from dominie_contracts.audit import Erasure, Receipt
from dominie_contracts.identity import Erase, Forgotten, SubjectKey
from dominie_contracts.personal import key_ids, open_parts
from dominie_contracts.registry import EVENTS
from dominie_kit import Context
from dominie_kit.context import deadline_in
from dominie_kit.heartbeats import Heartbeats
from dominie_kit.keyring import Keyring

TITLE = "dominie erasure receipt v1"
_ROWS = 1000
_SAID = ("arguments", "result", "text", "note", "problem.detail")
"""What is looked for afterwards: what was said. The rest of what is sealed are names and numbers that repeat."""
_DESTROY_S = 30.0
"""How long identity has to destroy the key, however much of the caller's time went into reading."""
_CHECKPOINT_S = 5.0
_POLL_S = 0.1


@dataclass(slots=True)
class _Found:
    """What is known of a person while their key is there: kept in memory, and only until the end."""

    values: list[JsonValue]
    clear: bytearray
    keys: set[str]


class Eraser:
    """Erases one person at a time."""

    def __init__(
        self,
        log: Log,
        keyring: Keyring,
        published: Published,
        signer: Signer,
        heartbeats: Heartbeats,
        folder: Path,
        identity: Callable[[Context, Erase], Awaitable[Forgotten]],
        *,
        timeout_s: float,
    ) -> None:
        self._log = log
        self._keyring = keyring
        self._published = published
        self._signer = signer
        self._heartbeats = heartbeats
        self._folder = folder
        self._identity = identity
        self._timeout_s = timeout_s
        self._one = anyio.Lock()

    async def erase(self, subject: str, context: Context) -> Erasure:
        """Erase a person; asked again it does what is left to do, and signs another receipt."""
        async with self._one:
            found = await self._collect(context.tenant, subject)
            keys = await self._keyring.secrets(context.tenant, sorted(found.keys))
            needles, sealed = await run_sync(_needles, found, keys)
            erase = Erase(tenant=context.tenant, principal=subject, by=context.principal)
            forgotten = await self._identity(replace(context, deadline=deadline_in(_DESTROY_S)), erase)
            context.position = forgotten.position
            rebuilt, late = await self._heartbeats.forgotten(forgotten.position, self._timeout_s)
            files, left = await run_sync(residue, self._folder, needles)
            still = await run_sync(held, self._folder, sealed)
            receipt = Receipt(
                tenant=context.tenant,
                subject=subject,
                by=context.principal,
                time=datetime.now(UTC).isoformat(timespec="seconds"),
                keys=forgotten.keys,
                position=forgotten.position,
                held=still,
                needles=len(needles),
                files=files,
                residue=left,
                rebuilt=rebuilt,
                late=late,
                checkpoint=await self._checkpoint(forgotten.position),
            )
            note = self._signer.sign(f"{TITLE}\n{receipt.model_dump_json()}\n")
            return Erasure(receipt=receipt, note=note, key=str(self._published.key))

    async def _collect(self, tenant: str, subject: str) -> _Found:
        found, after = _Found([], bytearray(b"\n".join(self._log.of_nobody(tenant))), set()), 0
        while rows := self._log.of_user(tenant, subject, after=after, limit=_ROWS):
            after = rows[-1].position
            await self._take(found, rows)
        return found

    async def _take(self, found: _Found, rows: list[Row]) -> None:
        sealed = [Recorded(row.position, row.raw) for row in rows if key_ids(row.raw)]
        for event, opened in zip(sealed, await self._keyring.open(sealed), strict=True):
            found.clear += event.raw
            found.keys |= key_ids(event.raw)
            found.values += _said(event, opened)

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


def _needles(found: _Found, keys: Sequence[SubjectKey]) -> tuple[Needles, Needles]:
    """What must stand nowhere, and the beginnings of what stands sealed."""
    secret = [piece for key in keys for piece in pieces_of_key(key)]
    sealed = [f"{key}.".encode() for key in found.keys]
    return Needles([*pieces_of(found.values, bytes(found.clear)), *secret]), Needles(sealed)


def _said(sealed: Recorded, opened: Recorded) -> list[JsonValue]:
    """What somebody said in an event, opened."""
    found = list[JsonValue]()
    data = opened.envelope.data

    def take(path: str, value: JsonValue) -> JsonValue:
        part: JsonValue = data
        for name in path.split("."):
            part = part[int(name)] if isinstance(part, list) else part[name] if isinstance(part, dict) else None
        if path in _SAID:
            found.append(part)
        return value

    open_parts(EVENTS[sealed.type], sealed.envelope.data, take)
    return found
