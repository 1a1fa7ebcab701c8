"""Which segments the log has, and how everybody who uses it learns that there is a new one.

A segment is one JetStream stream, `EVENTS_{number}`. One is open; the ones before it are sealed, so that what is in
them, or is not, never changes (ADR 0015). The one message of the stream `SEGMENTS` says which is which.
"""

import asyncio
import base64
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

from nats.aio.msg import Msg
from nats.errors import Error

from dominie_contracts.heard import AtOnce
from dominie_contracts.subjects import MOVED_SUBJECT, SEGMENTS_STREAM, SEGMENTS_SUBJECT
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import Deadline, Lost, Refused, Wire, connected, parse

_ASK: Final = json.dumps({"last_by_subj": SEGMENTS_SUBJECT}).encode()


@dataclass(frozen=True, slots=True, order=True)
class Segments:
    """The log's segments: those before `first` are in the archive alone, `open` takes appends."""

    open: int = 0
    first: int = 0

    def encode(self) -> bytes:
        """As it is stored."""
        return json.dumps({"open": self.open, "first": self.first}).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """As it was stored."""
        found = json.loads(data)
        return cls(found["open"], found["first"])


@dataclass(frozen=True, slots=True)
class Written:
    """What is stored of the segments, and the sequence of its message."""

    segments: Segments
    sequence: int


async def read_segments(wire: Wire, *, timeout_s: float) -> Written:
    """What is stored now; asked of the stream's leader, so never something older.

    Raises:
        Lost, Refused
    """
    answer = parse(await wire.ask(f"$JS.API.STREAM.MSG.GET.{SEGMENTS_STREAM}", _ASK, timeout_s=timeout_s))
    message = answer["message"]
    return Written(Segments.decode(base64.b64decode(message["data"])), int(message["seq"]))


class Catalogue:
    """What one user of the log knows of its segments.

    Whoever writes it says so on `log.moved`, and once in a while says it again, for those who did not hear.
    """

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._known: Segments | None = None
        self._doubted = False
        self._reconnects = 0
        self._listening = False
        self._asking = asyncio.Lock()
        self._told: set[Callable[[], None]] = set()

    @property
    def known(self) -> Segments | None:
        """What was last heard, unless something speaks against it."""
        return None if self._doubted or self._wire.nc.stats["reconnects"] != self._reconnects else self._known

    async def get(self, deadline: Deadline) -> Segments:
        """What was last heard; asks if there is doubt.

        Raises:
            StoreUnavailable: Nobody said in time.
        """
        if (found := self.known) is not None:
            return found
        async with self._asking:
            found = self.known
            return await self.now(deadline) if found is None else found

    async def now(self, deadline: Deadline) -> Segments:
        """What is true now, or was after this was asked.

        Raises:
            StoreUnavailable: Nobody said in time.
        """
        while True:
            reconnects = self._wire.nc.stats["reconnects"]
            try:
                await connected(self._wire.nc, deadline.attempt_s)
                await self._listen()
                found = await read_segments(self._wire, timeout_s=deadline.attempt_s)
            except (Lost, Refused) as error:
                await deadline.pause(error)
            else:
                self._reconnects, self._doubted = reconnects, False
                self._take(found.segments)
                return found.segments

    async def beyond(self, segment: int, deadline: Deadline) -> None:
        """Wait until a later segment is the open one.

        Raises:
            StoreUnavailable: None was, in time.
        """
        while (await self.now(deadline)).open <= segment:
            await deadline.pause()

    def doubt(self) -> None:
        """Something is not as it should be: ask the next time."""
        self._doubted = True

    @contextmanager
    def telling(self, moved: Callable[[], None]) -> Iterator[None]:
        """Call `moved` when the segments have changed."""
        self._told.add(moved)
        try:
            yield
        finally:
            self._told.discard(moved)

    async def _listen(self) -> None:
        if self._listening:
            return
        self._listening = True
        try:
            await self._wire.nc.subscribe(MOVED_SUBJECT, future=AtOnce[Msg](self._heard))  # type: ignore[arg-type]
        except Error as error:
            self._listening = False
            raise StoreUnavailable(f"the connection to the broker cannot be used ({error!r})") from error

    def _heard(self, message: Msg) -> None:
        if self._known is not None and Segments.decode(message.data) > self._known:
            self.doubt()
            self._tell()

    def _take(self, found: Segments) -> None:
        moved = self._known is not None and found > self._known
        self._known = found
        if moved:
            self._tell()

    def _tell(self) -> None:
        for moved in tuple(self._told):
            moved()
