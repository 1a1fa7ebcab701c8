"""What is heard of a server, however it is reached: what is a message (JSON-RPC 2.0), and how much is too much."""

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio

from dominie_tool.mcp.errors import Broken
from dominie_tool.sandbox.crowds import MOST_DEEP, MOST_PARTS, crowded, deep

if TYPE_CHECKING:
    from mcp_types import JSONRPCMessage

_ASKING = ("sampling/createMessage", "elicitation/create", "roots/list")


@dataclass(slots=True)
class Ears:
    """What is heard of a server.

    Attributes:
        most: The bytes that it may write until the next request is sent.
        why: Why it was ended, if it was.
        said: The end of what it wrote to its standard error.
        refused: What it asked for that no server is given, how often: the session's answer to each is an error.
    """

    most: int
    left: int = 0
    odd: int = 0
    why: str = ""
    said: bytes = b""
    refused: Counter[str] = field(default_factory=Counter)
    ended: anyio.Event = field(default_factory=anyio.Event)

    def __post_init__(self) -> None:
        self.left = self.most

    def asked(self) -> None:
        """A request was sent, so there is something to say again."""
        self.left = self.most

    @property
    def last_words(self) -> str:
        """What it wrote to its standard error last, in one line."""
        return " ".join(self.said.decode(errors="replace").split())[-300:]

    def take(self, count: int) -> None:
        """Count what was written.

        Raises:
            Broken: That is too much.
        """
        self.left -= count
        if self.left < 0:
            raise Broken(f"it wrote more than {self.most} bytes without being asked for that")

    def read(self, said: bytes) -> "JSONRPCMessage":
        """A message; what it asks for is counted.

        Raises:
            ValueError: It is none.
            Broken: It is more than is read.
        """
        import mcp_types

        check_size(said)
        message = mcp_types.jsonrpc_message_adapter.validate_json(said, by_name=False)
        if isinstance(message, mcp_types.JSONRPCRequest) and message.method in _ASKING:
            self.refused[message.method] += 1
        return message


def check_size(said: bytes) -> None:
    """See that JSON is not more than is read.

    Raises:
        Broken: It is.
    """
    if crowded(said):
        raise Broken(f"it said more than {MOST_PARTS:,} parts at once")
    if deep(said):
        raise Broken(f"it said what is nested more than {MOST_DEEP} deep")
