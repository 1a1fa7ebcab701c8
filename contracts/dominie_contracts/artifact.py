"""Artifacts: values too large for a command or an event, and what stands for them there (decision 0019).

A value is put in chunks of a fixed size, each by itself; a *manifest* lists them in order. Chunks and manifest are
named by digests under the key of the person they are about, so the same bytes have the same name for the same person,
and nobody can tell from a name what it stands for. In arguments and results its *reference* stands for the value:

    {"$artifact": "NAME", "size": 5000000, "media_type": "text/plain"}
"""

import hashlib
import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field, JsonValue

from dominie_contracts.base import Message

MARK = "$artifact"
CHUNK_BYTES = 128 * 1024
"""Every chunk but the last has this size: in base64 it fits in a command."""
INLINE_BYTES = 128 * 1024
"""What is longer as JSON is made shorter by artifacts; events hold the rest."""
MAX_CHUNKS = 2048
"""A manifest's names fit in a command."""
MediaType = Literal["text/plain", "application/json"]
"""A text, as UTF-8; any other value, as JSON."""
NAME_PATTERN = r"^[0-9a-f]{32}$"
_NAME = re.compile(NAME_PATTERN)
_NESTING = (dict, list)
_PARTS = {MARK, "size", "media_type"}


class Reference(Message):
    """What stands for an artifact."""

    name: str = Field(pattern=NAME_PATTERN)
    size: int = Field(ge=0)
    media_type: MediaType

    @property
    def stand_in(self) -> dict[str, JsonValue]:
        """As it stands in arguments and results."""
        return {MARK: self.name, "size": self.size, "media_type": self.media_type}


class Manifest(Message):
    """What an artifact consists of; its bytes are what its name is a digest of."""

    size: int = Field(ge=0)
    media_type: MediaType
    chunks: tuple[str, ...] = Field(max_length=MAX_CHUNKS)


class Chunk(Message):
    """Reply to `tool.FetchChunk` and `audit.FetchArtifact`: a part of an artifact."""

    data: str
    """In base64; empty where the artifact is."""
    chunks: int
    """How many the artifact has."""
    reference: Reference


class CallPass(Message):
    """What a tool worker shows of a call it was given: whose it is, and which artifacts are its arguments."""

    tool: str
    action: str
    agent: str
    names: tuple[str, ...]
    run: str
    proof: str = Field(max_length=128)
    """The id of the user's key, a point, and a digest under it of all of this."""


def reference(value: object) -> Reference | None:
    """The reference that a value is; None for any other value."""
    if not isinstance(value, dict) or value.keys() != _PARTS:
        return None
    name, size, media_type = value[MARK], value["size"], value["media_type"]
    sized = type(size) is int and size >= 0
    if not sized or not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    if media_type == "text/plain" or media_type == "application/json":
        return Reference(name=name, size=size, media_type=media_type)
    return None


def references(value: JsonValue) -> Iterator[Reference]:
    """Every reference in a value."""
    if isinstance(value, dict):
        found = reference(value) if MARK in value else None
        if found is not None:
            yield found
            return
        for part in value.values():
            if isinstance(part, _NESTING):
                yield from references(part)
    elif isinstance(value, list):
        for part in value:
            if isinstance(part, _NESTING):
                yield from references(part)


def names(value: JsonValue) -> tuple[str, ...]:
    """The names of a value's artifacts, each once, in order."""
    return tuple(sorted({found.name for found in references(value)}))


def holder(tenant: str, agent: str, run: str) -> str:
    """What stands for a run of an agent in the name of a manifest's subject: the run alone may fetch it."""
    return hashlib.sha256("\0".join((tenant, agent, run)).encode()).hexdigest()[:32]


def size_text(size: int) -> str:
    """`120 B`, `1.5 kB`, `5.0 MB`."""
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.1f} kB" if size < 999_950 else f"{size / 1e6:.1f} MB"
