"""The envelope of an event: CloudEvents 1.0 with our own extension attributes.

CloudEvents allows lower-case letters and digits in an attribute's name, so `on_behalf_of` is `onbehalfof` in JSON.
An event is serialised once, by `Draft.seal`; those bytes are what is stored, hashed and proven.
"""

import re
from datetime import datetime
from typing import Literal, NamedTuple, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict
from pydantic_core import to_json

from dominie_contracts.base import Json

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
    data: dict[str, Json]

    @classmethod
    def unseal(cls, raw: bytes) -> "Envelope":
        """Read stored bytes.

        Raises:
            pydantic.ValidationError: They are no event.
        """
        return cls.model_validate_json(raw)


class Draft(NamedTuple):
    """An event before the store has given it a place: everything but stream, version and `prev`."""

    id: str
    source: str
    type: str
    time: datetime
    actor: str
    data: str
    """The payload as JSON, as `model_dump_json` writes it."""
    on_behalf_of: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    traceparent: str | None = None
    policy_version: str | None = None

    def seal(self, stream: str, tenant: str, *, version: int, prev: str) -> bytes:
        """The bytes to store, now that the event has its place: JSON on one line.

        Raises:
            ValueError: The data are on more lines than one.
        """
        if "\n" in self.data:
            raise ValueError(f"{self.type}: an event's data are JSON on one line")
        head: dict[str, object] = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "time": self.time,
            "datacontenttype": "application/json",
            "stream": stream,
            "version": version,
            "tenant": tenant,
            "actor": self.actor,
            "prev": prev,
        }
        if self.on_behalf_of is not None:
            head["onbehalfof"] = self.on_behalf_of
        if self.correlation_id is not None:
            head["correlationid"] = self.correlation_id
        if self.causation_id is not None:
            head["causationid"] = self.causation_id
        if self.traceparent is not None:
            head["traceparent"] = self.traceparent
        if self.policy_version is not None:
            head["policyversion"] = self.policy_version
        return to_json(head)[:-1] + b',"data":' + self.data.encode() + b"}"


_TYPE = re.compile(rb'\{"specversion":"1\.0","id":"[^"\\]*","source":"[^"\\]*","type":"([^"\\]*)"')


class Recorded:
    """An event that was read: its place in the whole log, and the stored bytes. Its envelope is read when asked for."""

    __slots__ = ("_envelope", "position", "raw")

    def __init__(self, position: int, raw: bytes) -> None:
        self.position = position
        self.raw = raw
        self._envelope: Envelope | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Recorded) and (self.position, self.raw) == (other.position, other.raw)

    def __hash__(self) -> int:
        return hash((self.position, self.raw))

    def __repr__(self) -> str:
        return f"Recorded({self.position}, {self.raw!r})"

    @property
    def envelope(self) -> Envelope:
        """What the stored bytes say.

        Raises:
            pydantic.ValidationError: They are no event.
        """
        if self._envelope is None:
            self._envelope = self._unseal()
        return self._envelope

    def checked(self) -> Self:
        """Itself, once its envelope has been read; raises as `envelope` does."""
        self._envelope = self.envelope
        return self

    @property
    def stream(self) -> str:
        """The name of its stream."""
        return self.envelope.stream

    @property
    def type(self) -> str:
        """The event's type, without reading the rest of it, so that a follower passes quickly what is not for it."""
        return type_of(self.raw) or self.envelope.type

    def _unseal(self) -> Envelope:
        return Envelope.unseal(self.raw)


def type_of(raw: bytes) -> str | None:
    """The type in an event's stored bytes; None where they have to be read to find it."""
    found = _TYPE.match(raw)
    return None if found is None else found[1].decode()


def pack_position(segment: int, sequence: int, index: int) -> int:
    """The place in the whole log: 8 bits of index in the append, 32 of sequence, then the segment."""
    return segment << 40 | sequence << 8 | index


def unpack_position(position: int) -> tuple[int, int, int]:
    """Segment, sequence and index of a position."""
    return position >> 40, position >> 8 & 0xFFFFFFFF, position & 0xFF
