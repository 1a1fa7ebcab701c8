"""Commands and events of the tool service. Category `tool`, an action's trail; `catalog`, one stream a tool."""

from typing import ClassVar, Literal, get_args

from pydantic import Field, JsonValue

from dominie_contracts import catalog, endorsing, servers
from dominie_contracts.action import TRAIL, Matter, Noted, noted_in
from dominie_contracts.artifact import CHUNK_BYTES, MAX_CHUNKS, NAME_PATTERN, CallPass, MediaType, names
from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.egress import Network, Reached
from dominie_contracts.endorsing import ENDORSEMENT, Endorsed, EndorsementRevoked
from dominie_contracts.provenance import Integrity
from dominie_contracts.secrets import SECRET, KeepSecret, ListSecrets, RemoveSecret, SecretKept, SecretRemoved

TOOL, CATALOG, PLAN = "tool", "catalog", "plan"
Effect = servers.Effect
Kind = Literal["worker", "sandboxed", "local", "mcp"]
Backend = Literal["bubblewrap", "runsc", "wasmtime"]
"""What holds a sandboxed tool: `runsc` is gVisor, whose own kernel answers its system calls. A tool for `wasmtime` is a
WebAssembly module (WASI, preview 1), which reads its arguments as JSON and writes its result."""
MAX_TIMEOUT_S = 300.0


class Profile(Message):
    """What one call of a sandboxed tool may use; what is left out is as the tool service is set. Time: `timeout_s`."""

    memory_mb: int | None = Field(default=None, ge=16, le=65_536)
    """Of all its processes together, what it writes to its scratch folder included."""
    processes: int | None = Field(default=None, ge=1, le=4096)
    """Processes and threads at once."""
    scratch_mb: int | None = Field(default=None, ge=1, le=65_536)
    """The size of `/tmp`, the one folder it can write to."""
    output_bytes: int | None = Field(default=None, ge=1024, le=64 * 2**20)
    """What it prints and returns, together."""
    network: Network | Literal["none"] = "none"
    """Which hosts it may reach, through the tool service's proxy."""
    backend: Backend | None = None
    """What builds its box; None: as the tool service is set. A WebAssembly module names `wasmtime`."""


class ToolSpec(Message):
    """A tool as it is registered.

    `input_schema` and `output_schema` are JSON Schema (2020-12). A property of the input may carry
    `"x-dominie": {"role": "amount" | "recipient" | "object" | "when" | "code" | "text"}`, an amount beside it
    `"unit": "minor" | "major"`. The output, or any part of it, may carry `"integrity": "user" | "record" | "platform" |
    "agent" | "untrusted"`, and `"readers": ["dana@example.com", "@example.com"]`: the nearest mark at or above a part
    counts, and what is not marked is untrusted, for anybody. A property of it may carry `"author": "from"`: unless the
    property `from` beside it is the run's user, it is untrusted with all that is in it; if so it is the user's own
    words, where no `integrity` says otherwise.
    """

    name: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_.-]{0,63}$")
    version: str = "1"
    description: str = ""
    input_schema: dict[str, JsonValue]
    output_schema: dict[str, JsonValue] = Field(default_factory=dict)
    effect: Effect = "external"
    idempotent: bool = False
    """The tool takes the idempotency key, so that a repeated call does nothing twice."""
    kind: Kind = "worker"
    timeout_s: float = Field(default=30.0, gt=0, le=MAX_TIMEOUT_S)
    source: str | None = None
    """The module's text, of a sandboxed tool; a WebAssembly module's bytes are in base64."""
    function: str | None = None
    """The function in `source`."""
    profile: Profile | None = None
    """What a call of a sandboxed tool may use."""

    @property
    def repeatable(self) -> bool:
        """Whether a call may be done again when nobody knows how it went."""
        return self.idempotent or self.effect == "read"


class RegisterTool(Command):
    """Register a tool, or its next version. For a tool worker, a developer or the operator."""

    NAME: ClassVar[str] = "tool.register"
    spec: ToolSpec


class RegisteredTool(Message):
    """Reply to `RegisterTool`."""

    name: str
    version: str
    changed: bool


class ListTools(Command):
    """The tools that the caller may call."""

    NAME: ClassVar[str] = "tool.list"


class Tools(Message):
    """Reply to `ListTools`."""

    tools: tuple[ToolSpec, ...]
    owners: dict[str, str] = Field(default_factory=dict)
    """Whose each of them is."""
    deprecated: dict[str, str] = Field(default_factory=dict)
    """Of those that should not be used any more, what to know."""


class ToolShown(Message):
    """Reply to `ShowTool`."""

    spec: ToolSpec
    """Without its source."""
    owner: str
    versions: tuple[catalog.ToolVersion, ...]
    """The oldest first."""
    granted: tuple[str, ...]
    """The principals whose registration lets them call it."""
    deprecated: catalog.ToolDeprecated | None = None


class InvokeTool(Command):
    """Run a registered tool; the resource is its name."""

    NAME: ClassVar[str] = "tool.invoke"
    tool: str
    arguments: dict[str, JsonValue]
    references: dict[str, str] = Field(default_factory=dict, max_length=64)
    """Of an argument (`/to`) where it stands, in a result of this run: `ACTION#/pointer`. Refused where it does not."""


class ToolResult(Message):
    """Reply to `InvokeTool` and `FinishLocal`."""

    result: JsonValue
    labels: dict[str, Integrity]
    action: str
    warning: str = ""
    """That the tool is deprecated, where it is."""


class BeginLocal(Command):
    """Record and decide a call of a function in the agent's own process, before it runs."""

    NAME: ClassVar[str] = "tool.begin"
    spec: ToolSpec
    arguments: dict[str, JsonValue]
    process: str = Field(default="", max_length=64)
    """One id for each process of the agent: the same one asking again has not run the function yet. Empty: unknown."""


class Begun(Message):
    """Reply to `BeginLocal`.

    `run`: go on, then `FinishLocal`. `invoke`: a registered tool of that name wins. `finished`: it ran before.
    """

    action: str
    then: Literal["run", "invoke", "finished"]
    result: JsonValue = None
    labels: dict[str, Integrity] = Field(default_factory=dict)


class FinishLocal(Command):
    """Record the outcome of a local call."""

    NAME: ClassVar[str] = "tool.finish"
    action: str
    result: JsonValue = None
    error: str | None = None
    duration_ms: float = Field(ge=0)


class PutChunk(Command):
    """Put a chunk of what shall be an artifact. For agents in a run, and for workers in a call."""

    NAME: ClassVar[str] = "tool.put"
    data: str = Field(max_length=4 * (CHUNK_BYTES // 3 + 1))
    """In base64."""
    size: int = Field(default=0, ge=0)
    """Of the whole value in bytes, so that one which is too large is refused before all of it was sent."""
    call: CallPass | None = None


class ChunkPut(Message):
    """Reply to `PutChunk`."""

    name: str


class KeepArtifact(Command):
    """Make an artifact of chunks that were put, in this order. It is there when the reply comes, a `Reference`."""

    NAME: ClassVar[str] = "tool.keep"
    chunks: tuple[str, ...] = Field(max_length=MAX_CHUNKS)
    media_type: MediaType
    call: CallPass | None = None


class FetchChunk(Command):
    """A chunk of an artifact of this run, or of this call."""

    NAME: ClassVar[str] = "tool.fetch"
    name: str = Field(pattern=NAME_PATTERN)
    index: int = Field(ge=0)
    call: CallPass | None = None


class WorkerCall(Message):
    """What a tool worker is sent on `call.{tenant}.{tool}`; its answer goes to `reply_to`."""

    tool: str
    version: str
    arguments: dict[str, JsonValue]
    key: str
    """The idempotency key to hand on to whatever the tool does."""
    user: str
    agent: str
    run: str
    deadline_ms: int
    """Milliseconds left."""
    reply_to: str
    proof: str = ""
    """The proof of the `CallPass` that this call is."""

    @property
    def call_pass(self) -> CallPass:
        """What the worker shows where it puts or fetches artifacts for this call."""
        return CallPass(
            tool=self.tool,
            action=self.key,
            agent=self.agent,
            names=names(self.arguments),
            run=self.run,
            proof=self.proof,
        )


class WorkerAnswer(Message):
    """What a tool worker answers on `ret.{tenant}.{tool}.{call}`."""

    result: JsonValue = None
    error: str | None = None


class ToolRegistered(Payload):
    """Written by the tool service when a tool, or its next version, is registered."""

    KIND: ClassVar[str] = "registered.v1"
    spec: ToolSpec
    owner: str


class ToolRemoved(Payload):
    """Written by the tool service when an MCP server does not offer a tool any more, or is removed."""

    KIND: ClassVar[str] = "removed.v1"
    name: str
    by: str


class PlanTaken(Payload):
    """Written by the tool service, in the stream of a run with a plan, before a call that is of a step begins."""

    KIND: ClassVar[str] = "taken.v1"
    action: str
    step: int = Field(ge=0)
    instead_of: tuple[str, ...] = ()
    """Actions that were refused before they began: they have taken no step after all."""


COMMANDS: tuple[type[Command], ...] = (
    BeginLocal,
    FetchChunk,
    FinishLocal,
    InvokeTool,
    KeepArtifact,
    ListTools,
    PutChunk,
    RegisterTool,
    KeepSecret,
    ListSecrets,
    RemoveSecret,
    *catalog.COMMANDS,
    *servers.COMMANDS,
    *endorsing.COMMANDS,
)
EVENTS: dict[str, tuple[type[Payload], ...]] = {
    TOOL: (*TRAIL, Reached),
    **{noted_in(TOOL, matter): (Noted,) for matter in get_args(Matter)},
    CATALOG: (ToolRegistered, ToolRemoved, catalog.ToolDeprecated, *servers.EVENTS),
    PLAN: (PlanTaken,),
    SECRET: (SecretKept, SecretRemoved),
    ENDORSEMENT: (*TRAIL, Endorsed, EndorsementRevoked),
    noted_in(ENDORSEMENT, "parked"): (Noted,),
}
