"""Commands of audit, which writes no events: it reads everybody's."""

from typing import ClassVar, Literal

from pydantic import AwareDatetime, Field, JsonValue, NonNegativeFloat

from dominie_contracts.action import Decision
from dominie_contracts.artifact import NAME_PATTERN
from dominie_contracts.base import Command, Message, Payload

MAX_POSITION = 2**63 - 1


class Trail(Command):
    """Every event of one run, in order."""

    NAME: ClassVar[str] = "audit.trail"
    run: str
    after: int = Field(default=0, ge=0)
    """Go on after this position, where an earlier reply was truncated."""


class Selection(Message):
    """Which events are meant: those that fit all that is given; every event, if nothing is.

    How an action was decided, its cost and its words are on different events of it. Where several of these are given,
    an action fits if each is on one of its events, and these events are found; with `type`, those of that type instead.
    """

    agent: str | None = None
    user: str | None = None
    run: str | None = None
    action: str | None = Field(default=None, pattern=r"^[0-9a-f]{1,32}$")
    """Of one action alone: its id, or how it begins."""
    tool: str | None = None
    type: str | None = None
    """The event's type or how it begins: `tool.decided.v1`, `tool.decided`, `tool`."""
    decision: Decision | None = None
    policy: str | None = None
    """One of the policies that made a decision, by its name."""
    cost_over: NonNegativeFloat | None = None
    """What the action cost in USD, once it is finished; what was not priced has no cost."""
    cost_under: NonNegativeFloat | None = None
    text: str | None = Field(default=None, max_length=500)
    """Words, all of them in what was asked, answered, remembered, noted or voted; whole ones, in any case."""
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    """Not this moment itself."""


class Search(Selection, Command):
    """Events by whom, for whom, where, when, with what, how decided, at what cost and about what."""

    NAME: ClassVar[str] = "audit.search"
    after: int = Field(default=0, ge=0, le=MAX_POSITION)
    """Beyond this position alone."""
    before: int | None = Field(default=None, ge=1, le=MAX_POSITION)
    """Below this position alone."""
    earliest: bool = False
    """The earliest that fit, instead of the latest; `after` then goes on, as `before` does with the latest."""
    limit: int = Field(default=50, ge=1, le=1000)


class Export(Selection, Command):
    """Events as they are stored, in order, with their places in the transparency log: a page of them.

    The first page names the checkpoint, which covers all that audit had read when it was asked; the next ones name its
    size.
    """

    NAME: ClassVar[str] = "audit.export"
    size: int | None = Field(default=None, ge=1, le=MAX_POSITION)
    after: int = Field(default=0, ge=0, le=MAX_POSITION)
    limit: int = Field(default=500, ge=1, le=1000)
    proofs: bool = False


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
    durability: str | None = None
    """How that checkpoint says the log is kept: `none`, `fsync`, or `quorum N` on N replicas."""
    witnessed: int | None = None
    """How many events the last checkpoint covers that enough witnesses signed."""
    witnesses: tuple[str, ...] = ()
    """Who signed that one."""


class ArchiveSegment(Command):
    """Archive a sealed segment of the log, or say how far that is; from the operator, who removes it afterwards."""

    NAME: ClassVar[str] = "audit.archive"
    segment: int | None = Field(default=None, ge=0)
    """Which; none: only say what is archived."""


class ArchivedSegment(Message):
    """One segment that is in the archive whole, and was checked there against a signed checkpoint."""

    segment: int
    first: int
    """The place of its first event in the whole log, from 0."""
    events: int
    streams: int
    last: int = 0
    """The position of its last event; it is removed only if the broker has no append after it."""


class ArchiveState(Message):
    """Reply to `ArchiveSegment`."""

    archived: tuple[ArchivedSegment, ...]
    under_way: int | None = None
    """The segment that is being archived."""
    trouble: str | None = None
    """Why the last try failed; it is tried again when it is asked for again."""


class GetCheckpoint(Command):
    """The current signed checkpoint of the transparency log."""

    NAME: ClassVar[str] = "audit.checkpoint"
    extends: int | None = Field(default=None, ge=0)
    """The size of an older checkpoint: prove that this one extends it."""
    witnessed: bool = False
    """The last one that enough witnesses signed, instead of the last one."""


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
    witnessed: bool = False
    """In the last checkpoint that enough witnesses signed, instead of the last one."""


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


class Leaf(Message):
    """An event as it is stored, and where the transparency log has it."""

    position: int
    index: int
    """Of the leaf, from 0, in the order of the whole log."""
    raw: str
    """The event's stored bytes in base64."""
    proof: tuple[str, ...] = ()
    """Hashes from the leaf to the root of the checkpoint (RFC 6962), each in base64; where they were asked for."""


class Leaves(Message):
    """Reply to `Export`, oldest first."""

    leaves: tuple[Leaf, ...]
    truncated: bool
    """Go on after the last of them."""
    checkpoint: SignedCheckpoint | None = None
    """In the first page: the one that all pages lead to."""


class BundleHead(Message):
    """The first line of a bundle: a file of events that can be checked with nothing but the log's verifier key.

    It is JSON lines, each as `model_dump_json(exclude_none=True)` writes it: this, a `BundleEvent` for each event in
    the order of the log, and a `BundleEnd`.
    """

    bundle: Literal["dominie/bundle/1"] = "dominie/bundle/1"
    key: str
    """The verifier key that the log has, says whoever wrote this; nobody may trust it for that."""
    selection: Selection
    """What was asked for; nobody signed it."""
    checkpoint: str
    """A signed note (c2sp.org/tlog-checkpoint) over all events of the log up to then."""


class BundleEvent(Message):
    """An event of a bundle."""

    position: int
    """Where the event store had it; not signed."""
    index: int
    """Of the leaf, from 0, in the order of the whole log."""
    event: str
    """The stored bytes, which are JSON on one line in UTF-8."""
    proof: tuple[str, ...]
    """Hashes, each in base64, from the leaf to a subtree whose hash is known from the events before (RFC 6962)."""


class BundleEnd(Message):
    """The last line of a bundle."""

    events: int
    streams: int
    whole: int
    """Streams that have their first event here and none missing up to their last one here."""
    sha256: str
    """Of all bytes before this line, in hex: against accidents, not against whoever writes the file anew."""


class BundleReport(Message):
    """What the check of a bundle found."""

    ok: bool
    origin: str | None = None
    size: int | None = None
    """How many events the log had."""
    events: int = 0
    streams: int = 0
    whole: int = 0
    selection: Selection | None = None
    problem: str | None = None
    """The kind of what is wrong, as in `dominie.bundles` and `dominie.notes`."""
    detail: str | None = None
    line: int | None = None
    """Of the file, from 1; the first event is on line 2."""
    index: int | None = None
    position: int | None = None


class AskRecord(Command):
    """From a service, with a forked run's token: what its parent's record holds for the action that is asked now."""

    NAME: ClassVar[str] = "audit.record"
    category: str
    action: str
    """The id of the action's stream: the same one asked again gets the same answer."""
    command: str
    resource: str | None
    arguments: str
    """Their digest (RFC 8785, SHA-256)."""
    call: str
    """In words."""


class FromRecord(Message):
    """Reply to `AskRecord`: the parent's action to serve; none where the record is used up."""

    stream: str | None = None
    position: int | None = None
    """Of the event with its outcome."""


class EraseSubject(Command):
    """Destroy a person's keys, have all that was derived from them built anew, and look for residue."""

    NAME: ClassVar[str] = "audit.erase"
    subject: str
    """`u-NAME`, of the caller's tenant."""


class AskErasing(Command):
    """How far is the erasure that is under way?"""

    NAME: ClassVar[str] = "audit.erasing"


ErasureStage = Literal["collecting", "destroying", "rebuilding", "reading"]


class Erasing(Message):
    """Reply to `AskErasing`."""

    stage: ErasureStage | None = None
    """None where none is under way."""
    waits_for: tuple[str, ...] = ()
    """The services that have not built anew yet."""
    files: int = 0
    read_bytes: int = 0
    all_bytes: int = 0


class Receipt(Message):
    """What an erasure did, as audit signed it."""

    tenant: str
    subject: str
    by: str
    time: str
    keys: tuple[str, ...]
    """The ids of the keys that were destroyed."""
    position: int
    """Of the event that says so."""
    held: dict[str, int]
    """By store, in how many files their sealed texts stand, which nobody can read any more."""
    needles: int
    """How many pieces of what they said, and of their keys, were looked for afterwards; 0 where it was done before."""
    files: int
    """How many files were read afterwards: all below audit's folder of state, and the archive."""
    stores: dict[str, int] = Field(default_factory=dict)
    """The same by store: what is not named was not in reach."""
    read_bytes: int = 0
    residue: tuple[str, ...]
    """The files in which something that can be read was left."""
    unread: tuple[str, ...] = ()
    """What could not be read, so that nobody can tell what is left in it."""
    elsewhere: tuple[str, ...] = ()
    """Stores that audit cannot look through from where it runs: what was said stands sealed there, or should."""
    rebuilt: tuple[str, ...]
    """The services that have built anew what they derived."""
    late: tuple[str, ...]
    """Those that had not in time, or are away, of all that are deployed or have written: they do when they can."""
    checkpoint: str
    """The log's last checkpoint, with the event in it where it was signed in time."""


class Erasure(Message):
    """Reply to `EraseSubject`."""

    receipt: Receipt
    note: str
    """The receipt as a signed note (c2sp.org/signed-note): a line that says what it is, and its JSON."""
    key: str
    """The log's verifier key."""


class FetchArtifact(Command):
    """A chunk of an artifact that an event of the caller's tenant refers to; the reply is a `Chunk`."""

    NAME: ClassVar[str] = "audit.artifact"
    name: str = Field(pattern=NAME_PATTERN)
    index: int = Field(default=0, ge=0)


class CountArtifacts(Command):
    """How many artifacts are held, of all tenants together."""

    NAME: ClassVar[str] = "audit.artifacts"


class ArtifactsHeld(Message):
    """Reply to `CountArtifacts`."""

    artifacts: int
    chunks: int
    bytes: int
    """On disk, sealed."""
    swept: int
    """Artifacts and chunks that nothing referred to, or whose person was erased, since this audit started."""
    swept_bytes: int
    swept_at: str | None = None
    """When it was last looked for some."""


COMMANDS: tuple[type[Command], ...] = (
    *(ArchiveSegment, AskErasing, AskRecord, CountArtifacts, EraseSubject, Export, FetchArtifact, GetCheckpoint),
    *(ListRuns, Prove, Search, Trail, VerifyLog),
)
EVENTS: dict[str, tuple[type[Payload], ...]] = {}
