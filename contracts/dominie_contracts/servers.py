"""Commands and events of MCP servers, whose tools the tool service calls. Category `catalog`, a stream a server."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.digests import digest_json
from dominie_contracts.egress import Network
from dominie_contracts.labels import Role

PREFIX = "mcp."
"""What the names of their tools begin with: `mcp.{server}.{tool}`."""
ServerName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,23}$")]
Effect = Literal["read", "write", "external"]


class Server(Message):
    """An MCP server as it was added: a command that speaks on its standard input and output, or an address."""

    name: ServerName
    command: tuple[str, ...] = Field(default=(), max_length=64)
    """The program's path, and its arguments."""
    reads: tuple[str, ...] = Field(default=(), max_length=16)
    """Folders and files that it may read, beside its own program."""
    url: str | None = None
    """Where it is served over HTTP (streamable HTTP)."""
    headers: dict[str, str] = Field(default_factory=dict)
    """What each request over HTTP says; `{secret:NAME}` stands for a secret that is kept."""
    network: Network | None = None
    """What the program of a command may reach while it is called, with which secrets."""
    environment: dict[str, str] = Field(default_factory=dict)
    """What else that program finds in its environment; nothing secret."""

    @property
    def place(self) -> str:
        """The command in one line, or the address."""
        return self.url or " ".join(self.command)

    @property
    def transport(self) -> Literal["http", "stdio"]:
        """How it is spoken with."""
        return "stdio" if self.url is None else "http"


class Served(Message):
    """A tool in the words of the server itself: nothing of it is taken on trust."""

    name: str
    title: str = ""
    description: str = ""
    input_schema: dict[str, JsonValue]
    output_schema: dict[str, JsonValue] = Field(default_factory=dict)
    annotations: dict[str, JsonValue] = Field(default_factory=dict)
    """Hints, as the server gives them: `readOnlyHint` and so on."""

    @property
    def version(self) -> str:
        """What is called its version here: 12 hex digits of the digest of all this."""
        return digest_json(self.model_dump(mode="json"))[:12]


class Listing(Message):
    """All that a server says of itself, and what it runs from: what a review accepts."""

    instructions: str = ""
    tools: tuple[Served, ...]
    program: dict[str, str] = Field(default_factory=dict)
    """Of a command, each file and each folder of its program, with the digest of what is in it; else the address."""

    @property
    def digest(self) -> str:
        """Of all this, in hex."""
        return digest_json(self.model_dump(mode="json"))


class Words(Message):
    """What a reviewer says of a server's tools, since the server's own hints count for nothing."""

    trust_hints: bool = False
    """The hints do count: a tool that says `readOnlyHint` has the effect `read`."""
    effects: dict[str, Effect] = Field(default_factory=dict)
    """Of tools, by the name that the server gives them; `external` where neither says anything."""
    roles: dict[str, dict[str, Role]] = Field(default_factory=dict)
    """Of arguments, by tool."""


class MountServer(Command):
    """Start a server, and register its tools as they are now. For a developer."""

    NAME: ClassVar[str] = "tool.mount"
    server: Server
    words: Words = Words()


class ServerTool(Message):
    """One of a server's tools as it is registered."""

    name: str
    version: str
    effect: Effect
    description: str


class ServerView(Message):
    """An MCP server, and what of it is registered."""

    server: Server
    digest: str
    """Of what was accepted."""
    by: str
    """Who accepted it."""
    tools: tuple[ServerTool, ...]
    instructions: str = ""
    program: dict[str, str] = Field(default_factory=dict)
    changed: tuple[str, ...] = ()
    """What differs from what was accepted, as it was last met: until a review its tools are refused."""


class Mounted(Message):
    """Reply to `MountServer`."""

    server: ServerView
    changed: bool


class ReviewServer(Command):
    """Ask a server what it offers now, and what of that differs; with `accept`, register it. For a developer."""

    NAME: ClassVar[str] = "tool.review"
    name: ServerName
    accept: str | None = None
    """The digest of what was seen: anything else is not accepted."""
    words: Words | None = None
    """Instead of what was said at the last time."""


class Difference(Message):
    """One thing that is not as it was accepted; an empty text: it was not there, or is not there."""

    what: str
    """`instructions`, `program PATH`, `TOOL`, `TOOL description`, …"""
    before: str
    after: str


class ServerReview(Message):
    """Reply to `ReviewServer`."""

    server: ServerView
    digest: str
    """Of what the server offers now."""
    differences: tuple[Difference, ...]
    accepted: bool


class ListServers(Command):
    """The MCP servers of the tenant. For a developer."""

    NAME: ClassVar[str] = "tool.servers"


class Servers(Message):
    """Reply to `ListServers`."""

    servers: tuple[ServerView, ...]


class UnmountServer(Command):
    """Remove a server and its tools. For a developer."""

    NAME: ClassVar[str] = "tool.unmount"
    name: ServerName


class Unmounted(Message):
    """Reply to `UnmountServer`."""

    tools: tuple[str, ...]


class ServerAccepted(Payload):
    """Written by the tool service when somebody has mounted or reviewed a server, with its tools in the same append."""

    KIND: ClassVar[str] = "server_accepted.v1"
    server: Server
    listing: Listing
    words: Words
    by: str


class ServerChanged(Payload):
    """Written by the tool service when a server is not what was accepted: until a review its tools are refused."""

    KIND: ClassVar[str] = "server_changed.v1"
    name: str
    accepted: str
    """The digest of what was accepted."""
    digest: str
    differs: tuple[str, ...]


class ServerAsked(Payload):
    """Written by the tool service where a server has asked for what no server is given, after the call."""

    KIND: ClassVar[str] = "server_asked.v1"
    name: str
    action: str
    """The call, or another one of the same person in the same time."""
    refused: dict[str, int]
    """`sampling/createMessage`, `elicitation/create` or `roots/list`, and how often."""


class ServerRemoved(Payload):
    """Written by the tool service when somebody has removed a server, with its tools in the same append."""

    KIND: ClassVar[str] = "server_removed.v1"
    name: str
    by: str


COMMANDS: tuple[type[Command], ...] = (ListServers, MountServer, ReviewServer, UnmountServer)
EVENTS: tuple[type[Payload], ...] = (ServerAccepted, ServerAsked, ServerChanged, ServerRemoved)


def stream_id(server: str) -> str:
    """The stream of a server: `mcp.time`."""
    return f"{PREFIX}{server}"


def tool_name(server: str, tool: str) -> str:
    """What a server's tool is called here: `mcp.time.now`."""
    return f"{PREFIX}{server}.{tool}"


def parts(name: str) -> tuple[str, str]:
    """A tool's server, and what it is called there."""
    server, _, tool = name.removeprefix(PREFIX).partition(".")
    return server, tool
