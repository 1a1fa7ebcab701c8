"""A copy of the log in a file, and its check with nothing but that file.

A line an event, in the log's order: `{"stream", "version", "position", "raw"}`; `raw` is base64 (RFC 4648) of the
very bytes that are stored and hashed.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path

import anyio
from pydantic import ValidationError

from dominie.notes import Checkpoint, ProofProblem
from dominie_audit.adapters.tlog.comparison import compared
from dominie_audit.adapters.tlog.published import Published
from dominie_contracts import Message, Recorded
from dominie_contracts.audit import LogReport
from dominie_eventstore import ChainReport, CorruptEvent, EventStore, unseal, verify_chain


class Exported(Message):
    """One line of an exported log."""

    stream: str
    version: int
    position: int
    raw: str


async def export(store: EventStore, path: Path) -> int:
    """Write a copy of the whole log; returns how many events it has."""
    count = 0
    with path.open("w", encoding="utf-8") as file:
        async for event in store.read_all():
            file.write(_exported(event).model_dump_json() + "\n")
            count += 1
    return count


async def check(events: AsyncIterator[Recorded] | Iterable[Recorded], published: Published | None = None) -> LogReport:
    """Check the hash chain of every stream, and the events against the last checkpoint, where there is one."""
    try:
        latest = published.latest() if published else None
    except ProofProblem as error:
        return LogReport(ok=False, events=0, streams=0, why=f"the last checkpoint does not hold: {error.detail}")
    if published is None or latest is None:
        return _report(await verify_chain(events), None)
    found = await verify_chain(compared(events, latest.checkpoint, published.tiles))
    return _report(found, latest.checkpoint)


def _report(found: ChainReport, checkpoint: Checkpoint | None) -> LogReport:
    return LogReport(
        ok=found.ok,
        events=found.events,
        streams=found.streams,
        broken_at=found.broken_at,
        stream=found.stream,
        version=found.version,
        why=found.why or "",
        checkpoint=checkpoint.size if checkpoint else None,
        durability=checkpoint.durability if checkpoint else None,
    )


def verify_file(path: Path, published: Published | None = None) -> LogReport:
    """Check an exported log with nothing but its file; or with a transparency log's folder and verifier key too.

    Raises:
        OSError: It cannot be read.
    """

    async def checked() -> LogReport:
        return await check(_events(path), published)

    return anyio.run(checked)


def _exported(event: Recorded) -> Exported:
    raw = base64.b64encode(event.raw).decode()
    return Exported(stream=event.envelope.stream, version=event.envelope.version, position=event.position, raw=raw)


def _events(path: Path) -> Iterator[Recorded]:
    position = 0
    with path.open("rb") as file:
        for number, text in enumerate(file, 1):
            try:
                exported = Exported.model_validate_json(text)
                raw = base64.b64decode(exported.raw, validate=True)
            except (ValidationError, binascii.Error) as error:
                raise CorruptEvent(position, stream="?", why=f"line {number} of the file is no event") from error
            if exported.position <= position:
                raise CorruptEvent(exported.position, stream=exported.stream, why=f"line {number} is out of order")
            position = exported.position
            event = unseal(raw, position, exported.stream)
            if event.envelope.version != exported.version:
                raise CorruptEvent(position, stream=exported.stream, why=f"it is not version {exported.version}")
            yield event
