"""The event store on JetStream, on a connection that is handed in."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from nats.aio.client import Client

from dominie_contracts.envelope import Draft, Recorded, unpack_position
from dominie_contracts.subjects import EVENT_STREAM, SEGMENT, StreamName
from dominie_eventstore._consumer import Wanted
from dominie_eventstore._errors import StoreUnavailable, WrongExpectedVersion
from dominie_eventstore._filters import check_name, event_filter
from dominie_eventstore._follower import Follower
from dominie_eventstore._pipeline import Pipeline
from dominie_eventstore._port import DEFAULT_TIMEOUT_S, Appended, Durability
from dominie_eventstore._publisher import Publisher
from dominie_eventstore._seal import digest, record, seal
from dominie_eventstore._settle import settled
from dominie_eventstore._stored import end_of, stream_state
from dominie_eventstore._subscription import JetStreamSubscription, events_of
from dominie_eventstore._tails import NEW, Tail, Tails
from dominie_eventstore._wire import (
    NOT_NOW,
    WRONG_LAST_SEQUENCE,
    Deadline,
    Lost,
    Refused,
    Stored,
    Wire,
    last_message,
)


class JetStreamEventStore:
    """An `EventStore` on the JetStream stream that `provision` made.

    The connection stays its owner's; give it `pending_size=0` and `max_reconnect_attempts=-1`. Its rights need
    nothing but `publish_subjects(...)` and its own inbox. `replicas` is what `provision` was given: it decides how
    appends are sent, and a wrong one costs speed alone.
    """

    def __init__(
        self, nc: Client, *, stream: str = EVENT_STREAM, timeout_s: float = DEFAULT_TIMEOUT_S, replicas: int = 1
    ) -> None:
        if stream != EVENT_STREAM:
            raise ValueError(f"there is one segment so far, {EVENT_STREAM!r}, not {stream!r}")
        self._wire = Wire(nc)
        self._publisher = Publisher(self._wire) if replicas == 1 else Pipeline(self._wire)
        self._timeout_s = timeout_s
        self._tails = Tails()

    async def append(
        self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int, timeout_s: float | None = None
    ) -> Appended:
        """See `EventStore.append`. One round trip, if the stream is new or this store wrote it last."""
        name = str(stream)
        deadline = Deadline(f"append to {name}", self._timeout_s if timeout_s is None else timeout_s)
        tail = self._tails.get(name) or (NEW if expected_version == 0 else None)
        while True:
            if tail is None or tail.version < expected_version:
                tail = await self._look(name, expected_version, deadline)
            if tail.version != expected_version:
                return await self._decide(name, drafts, expected_version, tail, deadline)
            sealed, last = seal(name, stream.tenant, drafts, version=expected_version, prev=tail.digest)
            sequence = await self._offer(name, sealed, tail.sequence, deadline)
            if sequence is not None:
                break
            self._tails.forget(name)
            tail = None
        version = expected_version + len(sealed)
        self._tails.put(name, Tail(version, sequence, last))
        recorded = record(sealed, SEGMENT, sequence, name)
        return Appended(recorded[-1].position, version, recorded)

    async def _offer(self, name: str, sealed: Sequence[bytes], after: int, deadline: Deadline) -> int | None:
        """Publish; the message's sequence, or None if others were faster or the answer was lost."""
        payload = b"\n".join(sealed)
        try:
            return await self._publisher.publish(f"evt.{name}", payload, after=after, timeout_s=deadline.attempt_s)
        except Lost as error:
            await deadline.pause(error)
            return None
        except Refused as error:
            if error.code in NOT_NOW:
                await deadline.pause(error)
                return None
            if error.code not in WRONG_LAST_SEQUENCE:
                raise StoreUnavailable(f"append to {name}: {error}") from error
            deadline.check()
            return None

    async def _look(self, name: str, expected: int, deadline: Deadline) -> Tail:
        """Where the stream ends now; that it ends before the expected version is asked of who stores its events."""
        while True:
            message = await last_message(self._wire, f"evt.{name}", deadline)
            tail = NEW if message is None else _tail(message)
            if tail.version >= expected or tail.sequence >= await end_of(self._wire, f"evt.{name}", deadline):
                break
            await deadline.pause()
        if tail is not NEW:
            self._tails.put(name, tail)
        return tail

    async def _decide(
        self, name: str, drafts: Sequence[Draft], expected: int, tail: Tail, deadline: Deadline
    ) -> Appended:
        if tail.version < expected:
            raise WrongExpectedVersion(name, expected=expected, actual=tail.version)
        while not (found := await self._read(name, expected, deadline)):
            await deadline.pause()
        return settled(name, drafts, expected, found)

    async def read(self, stream: StreamName, *, after_version: int = 0, near: int = 0) -> list[Recorded]:
        """See `EventStore.read`. One round trip, if what is wanted is in the stream's last append."""
        name = str(stream)
        return await self._read(name, max(after_version, 0), Deadline(f"reading {name}", self._timeout_s), near=near)

    async def _read(self, name: str, after: int, deadline: Deadline, *, near: int = 0) -> list[Recorded]:
        """From whichever replica answers, but never less than this store has seen."""
        while True:
            last = await last_message(self._wire, f"evt.{name}", deadline)
            seen = self._tails.get(name)
            if seen is None or (last is not None and last.sequence >= seen.sequence):
                break
            await deadline.pause()
        if last is None:
            return []
        events = events_of(last)
        if events[0].envelope.version > after + 1:
            wanted = Wanted("read", f"evt.{name}", linger_s=0.1)
            follower = self._follower(wanted, near, for_ever=False, until=last.sequence)
            events = [event async for event in JetStreamSubscription(follower, 0)]
        return [event for event in events if event.envelope.version > after]

    async def read_all(
        self, *, category: str | None = None, after: int = 0, until: int | None = None
    ) -> AsyncIterator[Recorded]:
        """See `EventStore.read_all`."""
        wanted = Wanted("read_all", event_filter(category))
        last = await self._last_of_all() if category is None else 0
        follower = self._follower(wanted, after, for_ever=False, until=last)
        async with aclosing(follower.messages()) as messages:
            async for message in messages:
                for event in events_of(message, after):
                    if until is not None and event.position > until:
                        return
                    yield event.checked()
                    if event.position == until:
                        return

    def subscribe(self, name: str, *, category: str | None = None, after: int = 0) -> JetStreamSubscription:
        """See `EventStore.subscribe`."""
        wanted = Wanted(check_name(name), event_filter(category))
        return JetStreamSubscription(self._follower(wanted, after, for_ever=True), after)

    async def _last_of_all(self) -> int:
        """The sequence that every replica has to come to; 0 where there is one, which cannot be behind."""
        state = await stream_state(self._wire, Deadline("asking where the log ends", self._timeout_s))
        return state.last if state.durability.replicas > 1 else 0

    def _follower(self, wanted: Wanted, after: int, *, for_ever: bool, until: int = 0) -> Follower:
        _, start, _ = unpack_position(after)
        return Follower(self._wire, wanted, start=start, timeout_s=self._timeout_s, for_ever=for_ever, until=until)

    async def last_position(self, category: str | None = None) -> int:
        """See `EventStore.last_position`."""
        deadline = Deadline("asking for the last event", self._timeout_s)
        message = await last_message(self._wire, event_filter(category), deadline)
        return events_of(message)[-1].position if message else 0

    async def durability(self) -> Durability:
        """See `EventStore.durability`."""
        return (await stream_state(self._wire, Deadline("asking how the log is kept", self._timeout_s))).durability


def _tail(message: Stored) -> Tail:
    event = events_of(message)[-1]
    return Tail(event.envelope.version, message.sequence, digest(event.raw))
