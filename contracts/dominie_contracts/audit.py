"""Commands of audit, which writes no events: it reads everybody's."""

from typing import ClassVar

from pydantic import Field, JsonValue

from dominie_contracts.action import Decision
from dominie_contracts.base import Command, Message, Payload


class Trail(Command):
    """Every event of one run, in order."""

    NAME: ClassVar[str] = "audit.trail"
    run: str
    after: int = Field(default=0, ge=0)
    """Go on after this position, where an earlier reply was truncated."""


class Search(Command):
    """Actions by whom, for whom, where, with what and how decided; all that are given must fit."""

    NAME: ClassVar[str] = "audit.search"
    agent: str | None = None
    user: str | None = None
    run: str | None = None
    tool: str | None = None
    decision: Decision | None = None
    limit: int = Field(default=50, ge=1, le=1000)


class Entry(Message):
    """One event as an auditor reads it."""

    position: int
    stream: str
    version: int
    type: str
    time: str
    agent: str
    user: str | None
    run: str | None
    summary: str
    """The event in a few words."""
    data: dict[str, JsonValue]


class Entries(Message):
    """Reply to `Trail` and `Search`, oldest first."""

    entries: tuple[Entry, ...]
    truncated: bool = False


class ListRuns(Command):
    """The latest runs: what `dominie ps` shows beside the processes."""

    NAME: ClassVar[str] = "audit.runs"
    limit: int = Field(default=20, ge=1, le=200)


class RunView(Message):
    """One run in a line."""

    run: str
    agent: str
    user: str | None
    started: str
    last: str
    events: int
    cost_usd: float
    status: str


class Runs(Message):
    """Reply to `ListRuns`, latest first."""

    runs: tuple[RunView, ...]


class VerifyLog(Command):
    """Check that every stream's hash chain holds, and that the log is what the last checkpoint says."""

    NAME: ClassVar[str] = "audit.verify"


class LogReport(Message):
    """Reply to `VerifyLog`."""

    ok: bool
    events: int
    streams: int
    broken_at: int | None = None
    """The position of the first event that does not hold."""
    stream: str | None = None
    version: int | None = None
    why: str = ""
    checkpoint: int | None = None
    """How many events the last signed checkpoint covers; newer ones have the hash chains of their streams alone."""


class GetCheckpoint(Command):
    """The current signed checkpoint of the transparency log."""

    NAME: ClassVar[str] = "audit.checkpoint"
    extends: int | None = Field(default=None, ge=0)
    """The size of an older checkpoint: prove that the current one extends it."""


class SignedCheckpoint(Message):
    """Reply to `GetCheckpoint`."""

    checkpoint: str
    """A signed note (c2sp.org/tlog-checkpoint)."""
    key: str
    """The log's verifier key (c2sp.org/signed-note)."""
    proof: tuple[str, ...] = ()
    """The consistency proof from `extends`: hashes, each in base64."""


class Prove(Command):
    """Prove that an event is in the log."""

    NAME: ClassVar[str] = "audit.prove"
    position: int = Field(ge=1)


class InclusionProof(Message):
    """Reply to `Prove`: all that is needed to check, beside the log's verifier key."""

    position: int
    """Where the event store has it; the proof says nothing of this number, but of `index`."""
    index: int
    """Of the leaf, from 0, in the order of the whole log."""
    raw: str
    """The event's stored bytes in base64."""
    proof: tuple[str, ...]
    """Hashes from the leaf to the root (RFC 6962), each in base64."""
    checkpoint: str
    """A signed note (c2sp.org/tlog-checkpoint)."""


COMMANDS: tuple[type[Command], ...] = (GetCheckpoint, ListRuns, Prove, Search, Trail, VerifyLog)
EVENTS: dict[str, tuple[type[Payload], ...]] = {}
