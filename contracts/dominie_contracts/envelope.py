"""The envelope of an event: CloudEvents 1.0 with our own extension attributes.

CloudEvents allows lower-case letters and digits in an attribute's name, so `on_behalf_of` is `onbehalfof` in JSON.
An event is serialised once, by `seal`; those bytes are what is stored, hashed and proven.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, JsonValue

GENESIS = "0" * 64
"""`prev` of a stream's first event."""


def _plain(name: str) -> str:
    return name.replace("_", "")


class Envelope(BaseModel):
    """One event as it is stored."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=_plain, validate_by_name=True, validate_by_alias=True
    )

    specversion: Literal["1.0"] = "1.0"
    id: str
    source: str
    """`dominie/{service}`."""
    type: str
    """`{category}.{kind}.v{n}`."""
    time: AwareDatetime
    datacontenttype: Literal["application/json"] = "application/json"
    stream: str
    version: int
    """In the stream, from 1."""
    tenant: str
    actor: str
    """The chain of principals that acted, the outermost first, parted by spaces; or `svc-{service}`."""
    on_behalf_of: str | None = None
    """The user."""
    correlation_id: str | None = None
    """The run."""
    causation_id: str | None = None
    traceparent: str | None = None
    policy_version: str | None = None
    prev: str
    """The SHA-256, in hex, of the stream's previous event."""
    data: dict[str, JsonValue]
    """JSON already: of a payload that was validated, or parsed from stored bytes."""

    def seal(self) -> bytes:
        """The bytes to store: JSON on one line."""
        return self.model_dump_json(by_alias=True, exclude_none=True).encode()

    @classmethod
    def unseal(cls, raw: bytes) -> "Envelope":
        """Read stored bytes.

        Raises:
            pydantic.ValidationError: They are no event.
        """
        return cls.model_validate_json(raw)


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An event before the store has given it a place: everything but stream, version and `prev`."""

    id: str
    source: str
    type: str
    time: datetime
    actor: str
    data: dict[str, JsonValue]
    on_behalf_of: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    policy_version: str | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """An event that was read: its place in the whole log, its envelope, and the stored bytes themselves."""

    position: int
    envelope: Envelope
    raw: bytes


def pack_position(segment: int, sequence: int, index: int) -> int:
    """The place in the whole log: 8 bits of index in the append, 32 of sequence, then the segment."""
    return segment << 40 | sequence << 8 | index


def unpack_position(position: int) -> tuple[int, int, int]:
    """Segment, sequence and index of a position."""
    return position >> 40, position >> 8 & 0xFFFFFFFF, position & 0xFF
