"""The event store on JetStream, on a connection that is handed in."""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing
from functools import partial

from nats.aio.client import Client

from dominie_contracts.envelope import Draft, Recorded, pack_position, unpack_position
from dominie_contracts.subjects import StreamName
from dominie_eventstore._consumer import Wanted
from dominie_eventstore._errors import StoreUnavailable, WrongExpectedVersion
from dominie_eventstore._filters import category_filter, check_name
from dominie_eventstore._follower import Follower
from dominie_eventstore._log import Log, events_of
from dominie_eventstore._pipeline import Pipeline
from dominie_eventstore._port import DEFAULT_TIMEOUT_S, Appended, Durability
from dominie_eventstore._publisher import Publisher
from dominie_eventstore._seal import digest, record, seal
from dominie_eventstore._settle import settled
from dominie_eventstore._stored import end_of, stream_state
from dominie_eventstore._streams import Streams
from dominie_eventstore._subscription import JetStreamSubscription
from dominie_eventstore._tails import Tail, Tails, new
from dominie_eventstore._wire import NOT_NOW, SEALED, WRONG_LAST_SEQUENCE, Deadline, Lost, Refused, Wire
from dominie_eventstore.archive import Archive


class JetStreamEventStore:
    """An `EventStore` on the JetStream streams that `provision` and `roll` made.

    The connection stays its owner's; give it `pending_size=0` and `max_reconnect_attempts=-1`. Its rights need
    nothing but `publish_subjects(...)`, `log.moved` and its own inbox.

    Args:
        nc: The connection.
        archive: Where segments are that the broker does not have any more.
        timeout_s: How long an operation may take.
        replicas: What `provision` was given: it decides how appends are sent, and a wrong one costs speed alone.
    """

    def __init__(
        self,
        nc: Client,
        *,
        archive: Archive | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        replicas: int = 1,
    ) -> None:
        wire = Wire(nc)
        self._log = Log(wire, archive)
        self._publisher = Publisher(wire) if replicas == 1 else Pipeline(wire)
        self._timeout_s = timeout_s
        self._tails = Tails()
        self._streams = Streams(self._log, self._tails, timeout_s)

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        """See `EventStore.append`. One round trip, if the stream is new or this store wrote it last."""
        name = str(stream)
        deadline = Deadline(f"append to {name}", self._timeout_s if timeout_s is None else timeout_s)
        tail = await self._remembered(name, expected_version, deadline)
        while True:
            if tail is None or tail.version < expected_version:
                tail = await self._look(name, expected_version, deadline)
            if tail.version != expected_version:
                return await self._decide(name, drafts, expected_version, tail, deadline)
            sealed, last = seal(name, stream.tenant, drafts, version=expected_version, prev=tail.digest)
            try:
                sequence = await self._publisher.publish(
                    tail.segment, name, b"\n".join(sealed), after=tail.sequence, timeout_s=deadline.attempt_s
                )
                break
            except (Lost, Refused) as error:
                await self._failed(name, tail, error, deadline)
            self._tails.forget(name)
            tail = None
        version = expected_version + len(sealed)
        self._tails.put(name, Tail(tail.segment, version, sequence, last))
        position = pack_position(tail.segment, sequence, len(sealed) - 1)
        return Appended(position, version, partial(record, sealed, tail.segment, sequence, name))

    async def _remembered(self, name: str, expected: int, deadline: Deadline) -> Tail | None:
        """Where the stream ends, as far as that is known without asking about it."""
        segments = self._log.catalogue.known or await self._log.catalogue.get(deadline)
        tail = self._tails.get(name, segments.open)
        if tail is None and expected == 0 and not await self._streams.began_before(segments.open, name, deadline):
            return new(segments.open)
        return tail

    async def _failed(self, name: str, tail: Tail, error: Lost | Refused, deadline: Deadline) -> None:
        """Wait as long as it takes until the stream may be looked at: others were faster, or nobody knows.

        Raises:
            StoreUnavailable: The broker will not have it, or the time is over.
        """
        if isinstance(error, Lost) or error.code in NOT_NOW:
            await deadline.pause(error)
            return
        if error.code == SEALED:
            await self._log.catalogue.beyond(tail.segment, deadline)
        elif error.code not in WRONG_LAST_SEQUENCE:
            raise StoreUnavailable(f"append to {name}: {error}") from error
        deadline.check()

    async def _look(self, name: str, expected: int, deadline: Deadline) -> Tail:
        """Where the stream ends now; that it ends before the expected version is asked of who stores its events."""
        while True:
            segment = (await self._log.catalogue.now(deadline)).open
            last = await self._streams.last(segment, name, deadline)
            tail = new(segment) if last is None else _tail(segment, last)
            why = None
            try:
                if tail.version >= expected or tail.sequence >= await end_of(
                    self._log.wire, segment, name, timeout_s=deadline.attempt_s
                ):
                    break
            except (Lost, Refused) as error:
                why = error
            await deadline.pause(why)
        if last is not None:
            self._tails.put(name, tail)
        return tail

    async def _decide(
        self, name: str, drafts: Sequence[Draft], expected: int, tail: Tail, deadline: Deadline
    ) -> Appended:
        if tail.version < expected:
            raise WrongExpectedVersion(name, expected=expected, actual=tail.version)
        while not (found := await self._streams.read(name, expected, deadline)):
            await deadline.pause()
        return settled(name, drafts, expected, found)

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        """See `EventStore.read`. Two round trips, if what is wanted is in the stream's last append."""
        name = str(stream)
        deadline = Deadline(f"reading {name}", self._timeout_s)
        return await self._streams.read(name, max(after_version, 0), deadline, near=near)

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        """See `EventStore.read_all`."""
        wanted = Wanted("read_all", category_filter(category))
        last, last_sequence = await self._end_of_all() if category is None else (None, 0)
        follower = Follower(self._log, wanted, after=after, timeout_s=self._timeout_s, last=last, until=last_sequence)
        async with aclosing(follower.messages()) as messages:
            async for message in messages:
                for event in events_of(message, after):
                    if until is not None and event.position > until:
                        return
                    yield event.checked()
                    if event.position == until:
                        return

    def subscribe(
        self, name: str, *, category: str | None = None, after: int = 0, skip: Collection[str] = ()
    ) -> JetStreamSubscription:
        """See `EventStore.subscribe`."""
        wanted = Wanted(check_name(name), category_filter(category))
        follower = Follower(self._log, wanted, after=after, timeout_s=self._timeout_s, for_ever=True)
        return JetStreamSubscription(follower, after, skip)

    async def _end_of_all(self) -> tuple[int | None, int]:
        """The segment and the sequence that every replica has to come to; none where there is one replica alone."""
        deadline = Deadline("asking where the log ends", self._timeout_s)
        segment = (await self._log.catalogue.now(deadline)).open
        state = await stream_state(self._log.wire, segment, deadline)
        return (segment, state.last) if state.durability.replicas > 1 else (None, 0)

    async def last_position(self, category: str | None = None) -> int:
        """See `EventStore.last_position`."""
        deadline = Deadline("asking for the last event", self._timeout_s)
        tail = category_filter(category)
        for segment in range((await self._log.catalogue.now(deadline)).open, -1, -1):
            if events := await self._log.last(segment, tail, deadline):
                return events[-1].position
        return 0

    async def durability(self) -> Durability:
        """See `EventStore.durability`."""
        deadline = Deadline("asking how the log is kept", self._timeout_s)
        segment = (await self._log.catalogue.now(deadline)).open
        return (await stream_state(self._log.wire, segment, deadline)).durability


def _tail(segment: int, last: Recorded) -> Tail:
    """The end of a stream whose last event is in this segment, which is open, or in an earlier one."""
    within, sequence, _ = unpack_position(last.position)
    return Tail(segment, last.envelope.version, sequence if within == segment else 0, digest(last.raw))
