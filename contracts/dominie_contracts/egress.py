"""What a sandboxed tool may reach of the network, and what one call of it has reached."""

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeInt

from dominie_contracts.base import Message, Payload
from dominie_contracts.personal import PERSONAL

_NAME = r"([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])?"
HOST_PATTERN = rf"^{_NAME}$"
"""A whole name in lower case. Its last part begins with a letter, so it is no address in whatever notation."""
HostPattern = Annotated[str, Field(pattern=rf"^(\*|(\*\.)?{_NAME})$")]
"""A host, `*.example.com` for every host below that one, or `*` for any."""
BoundHost = Annotated[str, Field(pattern=rf"^(\*\.)?{_NAME}$")]
"""The same without `*`."""
SecretName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]{0,63}$")]
"""As a tool finds it in its environment."""
MAX_TOLD = 64
"""Hosts that one event names."""


class Network(Message):
    """What one call of a sandboxed tool may reach, through the tool service's proxy alone.

    Addresses that are not the internet's are refused whatever a name stands for (loopback, private, link-local and the
    like), unless the tool service was set to open them.
    """

    hosts: tuple[HostPattern, ...] = Field(default=(), max_length=64)
    ports: tuple[Annotated[int, Field(ge=1, le=65535)], ...] = Field(default=(443,), max_length=16)
    """80 is in the clear; every other one is spoken to in TLS."""
    secrets: tuple[SecretName, ...] = Field(default=(), max_length=16)
    """Those that it may use: its environment has something under their names that the proxy swaps for them."""


class Reach(Message):
    """A host that a call has reached."""

    host: Annotated[str, PERSONAL]
    port: int
    address: str
    """What its name stood for, checked before it was connected to."""
    connections: NonNegativeInt
    sent_bytes: NonNegativeInt
    """To that host, what secures the line included where the tool did that itself."""
    received_bytes: NonNegativeInt


class Unreached(Message):
    """Something that a call was not let reach."""

    host: Annotated[str, PERSONAL]
    """As the tool wrote it, at most 255 characters; empty where it named none."""
    port: int
    why: str
    """In one word: `loopback`, `not-listed`, `other-name`, …; the tool service's README lists them."""
    count: NonNegativeInt


class Reached(Payload):
    """Written by the tool service before the outcome of a call that used the network, or tried to.

    From a sandbox, or to an MCP server over HTTP.
    """

    KIND: ClassVar[str] = "reached.v1"
    hosts: tuple[Reach, ...] = ()
    refused: tuple[Unreached, ...] = ()
    more: NonNegativeInt = 0
    """Refused attempts that are not named here, since there were too many different ones."""
