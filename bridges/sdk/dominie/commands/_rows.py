"""Exported events as lines of a file. Pure."""

import base64
import csv
import json
from collections.abc import Iterable, Iterator

from dominie_contracts.audit import Leaf, SignedCheckpoint
from dominie_contracts.envelope import Recorded
from dominie_contracts.line import line

COLUMNS = (
    *("position", "index", "time", "type", "stream", "version", "agent", "user", "run"),
    *("resource", "decision", "outcome", "cost_usd", "duration_ms", "summary", "data"),
)
"""`run` and `resource` are what the event itself says; `data` is JSON."""
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula (OWASP, CSV injection), in full width too."""


def as_json_lines(leaves: Iterable[Leaf], checkpoint: SignedCheckpoint | None) -> Iterator[bytes]:
    """An event a line; `event` holds its stored bytes, which are JSON themselves.

    With a checkpoint, that comes first, and each line has its proof: hashes from the leaf to the root (RFC 6962).
    """
    if checkpoint is not None:
        yield _json({"checkpoint": checkpoint.checkpoint, "key": checkpoint.key})
    for leaf in leaves:
        event = {"position": leaf.position, "index": leaf.index, "event": _raw(leaf).decode()}
        yield _json(event if checkpoint is None else event | {"proof": leaf.proof})


def as_csv(leaves: Iterable[Leaf]) -> Iterator[bytes]:
    """A header, and an event a row (RFC 4180, UTF-8); no cell begins as a formula does."""
    row = _Row()
    yield row.written(COLUMNS)
    for leaf in leaves:
        yield row.written(_cells(leaf))


class _Row:
    """What `csv` writes, a row at a time."""

    def __init__(self) -> None:
        self._text = ""
        self._csv = csv.writer(self)

    def write(self, text: str) -> None:
        self._text = text

    def written(self, cells: Iterable[object]) -> bytes:
        self._csv.writerow([_guarded(cell) if isinstance(cell, str) else cell for cell in cells])
        return self._text.encode()


def _cells(leaf: Leaf) -> tuple[object, ...]:
    event = Recorded(leaf.position, _raw(leaf))
    found = line(event)
    return (
        *(found.position, leaf.index, found.time.isoformat(), found.type, found.stream, found.version),
        *(found.agent, found.user, found.run, found.resource, found.decision, found.outcome),
        *(found.cost_usd, found.duration_ms, found.text),
        json.dumps(event.envelope.data, ensure_ascii=False),
    )


def _guarded(text: str) -> str:
    """With an apostrophe before what would be a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _raw(leaf: Leaf) -> bytes:
    return base64.b64decode(leaf.raw)


def _json(data: object) -> bytes:
    return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
