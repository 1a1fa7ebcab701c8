"""What the operator asks of JetStream, with a deadline."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from nats.aio.client import Client

from dominie_contracts.headers import MAX_EVENT_BYTES
from dominie_contracts.subjects import SEGMENTS_SUBJECT, event_subject, segment_stream
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._segments import Segments, Written, read_segments
from dominie_eventstore._wire import EXPECTED_SEQUENCE, WRONG_LAST_SEQUENCE, Deadline, Lost, Refused, Wire, parse

_API = "$JS.API.STREAM"
NOT_FOUND = 10059
_NAME_IN_USE, _NO_MESSAGE = 10058, 10037


@asynccontextmanager
async def operating(nc: Client) -> AsyncIterator[Wire]:
    """Requests on the operator's connection, on which nothing is left."""
    wire = Wire(nc)
    try:
        yield wire
    finally:
        await wire.close()


class Operation:
    """Requests of the operator that end with a deadline, each of them tried again when no answer comes."""

    def __init__(self, wire: Wire, what: str, timeout_s: float) -> None:
        self.wire = wire
        self.deadline = Deadline(what, timeout_s)
        self._what = what

    async def ask(self, verb: str, stream: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask JetStream about a stream; its answer.

        Raises:
            Refused, StoreUnavailable
        """
        payload = b"" if body is None else json.dumps(body).encode()
        while True:
            try:
                answer = await self.wire.ask(f"{_API}.{verb}.{stream}", payload, timeout_s=self.deadline.attempt_s)
            except Lost as error:
                await self.deadline.pause(error)
            else:
                return parse(answer)

    async def config(self, stream: str) -> dict[str, Any] | None:
        """A stream's settings, if there is one.

        Raises:
            StoreUnavailable
        """
        try:
            found: dict[str, Any] = (await self.ask("INFO", stream))["config"]
        except Refused as error:
            if error.code != NOT_FOUND:
                raise StoreUnavailable(f"{self._what}: {error}") from error
            return None
        return found

    async def put_stream(self, config: Mapping[str, Any]) -> None:
        """Create a stream, or bring it up to date.

        Raises:
            StoreUnavailable
        """
        for verb in ("CREATE", "UPDATE"):
            try:
                await self.ask(verb, config["name"], config)
                return
            except Refused as error:
                if verb == "UPDATE" or error.code != _NAME_IN_USE:
                    raise StoreUnavailable(f"{self._what}: {error}") from error

    async def segments(self) -> Written:
        """What is written of the segments; at sequence 0 if nothing is yet.

        Raises:
            StoreUnavailable
        """
        while True:
            try:
                return await read_segments(self.wire, timeout_s=self.deadline.attempt_s)
            except Lost as error:
                await self.deadline.pause(error)
            except Refused as error:
                if error.code == _NO_MESSAGE:
                    return Written(Segments(), 0)
                await self.deadline.pause(error)

    async def write(self, after: Written, segments: Segments) -> Segments:
        """Write what is true of the segments now, if nobody else did; what is true then.

        Raises:
            StoreUnavailable
        """
        try:
            await self.publish(SEGMENTS_SUBJECT, segments.encode(), headers={EXPECTED_SEQUENCE: str(after.sequence)})
        except Refused as error:
            if error.code not in WRONG_LAST_SEQUENCE:
                raise StoreUnavailable(f"{self._what}: {error}") from error
            return (await self.segments()).segments
        return segments

    async def publish(self, subject: str, payload: bytes, *, headers: dict[str, str] | None = None) -> None:
        """Store a message; once or, where an answer is lost, twice.

        Raises:
            Refused, StoreUnavailable
        """
        while True:
            try:
                parse(await self.wire.ask(subject, payload, timeout_s=self.deadline.attempt_s, headers=headers))
                return
            except Lost as error:
                await self.deadline.pause(error)


def segment_config(segment: int, replicas: int) -> dict[str, Any]:
    """The settings of an open segment's stream."""
    return {
        "name": segment_stream(segment),
        "subjects": [event_subject(segment, ">")],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "num_replicas": replicas,
        "max_msg_size": MAX_EVENT_BYTES,
        "allow_direct": True,
        "allow_atomic": True,
        "deny_delete": True,
        "deny_purge": True,
    }
