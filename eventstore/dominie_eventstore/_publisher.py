"""Publishing appends. Many at once go out as one atomic batch (NATS ADR-50), so that one fsync stores them all.

An append is one message either way. A batch is stored in whole or not at all, and one append that comes too late
spoils all of it without being named: then the broker is asked where each stream ends, and the others go out again.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from secrets import token_hex
from typing import Final

from nats.errors import Error

from dominie_contracts.subjects import event_subject
from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import (
    EXPECTED_SEQUENCE,
    SEALED,
    WRONG_LAST_SEQUENCE,
    Lost,
    Refused,
    Wire,
    parse,
)

_MOST_ALONE: Final = 8
"""Appends on their way, each by itself; more than these go together: a batch costs the broker some six fsyncs."""
_LARGEST_BATCH: Final = 1000
_LARGEST_BATCH_BYTES: Final = 4 * 1024 * 1024
_AT_A_TIME: Final = 64
_Failure = Lost | Refused | StoreUnavailable


@dataclass(slots=True, eq=False)
class _Offer:
    """A message to be stored in a segment if its subject's last one there has the sequence `after`."""

    segment: int
    subject: str
    payload: bytes
    after: int
    timeout_s: float
    sequence: asyncio.Future[int]

    def settle(self, outcome: int | _Failure) -> None:
        """Tell whoever still waits."""
        if self.sequence.done():
            return
        if isinstance(outcome, int):
            self.sequence.set_result(outcome)
        else:
            self.sequence.set_exception(outcome)


@dataclass(slots=True, eq=False)
class _Batch:
    """Offers to be stored together, the first `sent` of them on their way to the broker already."""

    offers: list[_Offer] = field(default_factory=list)
    name: str = field(default_factory=lambda: token_hex(8))
    subjects: set[str] = field(default_factory=set)
    later: list[_Offer] = field(default_factory=list)
    """For the next batch: a second one of a subject, or one for another segment, would always be refused."""
    size: int = 0
    sent: int = 0
    failure: Lost | None = None

    @property
    def full(self) -> bool:
        return len(self.offers) >= _LARGEST_BATCH or self.size >= _LARGEST_BATCH_BYTES

    def add(self, offer: _Offer) -> None:
        """Take an offer."""
        if offer.subject in self.subjects or (self.offers and self.offers[0].segment != offer.segment):
            self.later.append(offer)
        else:
            self.subjects.add(offer.subject)
            self.offers.append(offer)
            self.size += len(offer.payload)

    async def send(self, wire: Wire) -> None:
        """Send all but the last one, whose message will be the one that commits."""
        try:
            while self.sent < len(self.offers) - 1:
                offer = self.offers[self.sent]
                self.sent += 1
                await wire.nc.publish(offer.subject, offer.payload, headers=self._headers(offer, self.sent))
        except (Error, OSError) as error:
            self.failure = Lost(f"a batch of {len(self.offers)}: {error!r}")

    async def commit(self, wire: Wire) -> int:
        """Have all of it stored; the first one's sequence.

        Raises:
            Lost, Refused, StoreUnavailable
        """
        await self.send(wire)
        if self.failure is not None:
            raise self.failure
        last = self.offers[-1]
        headers = {**self._headers(last, len(self.offers)), "Nats-Batch-Commit": "1"}
        answer = await wire.ask(last.subject, last.payload, timeout_s=last.timeout_s, headers=headers)
        return int(parse(answer)["seq"]) - len(self.offers) + 1

    def _headers(self, offer: _Offer, number: int) -> dict[str, str]:
        return {EXPECTED_SEQUENCE: str(offer.after), "Nats-Batch-Id": self.name, "Nats-Batch-Sequence": str(number)}


class Publisher:
    """Stores messages, the more at once the more are on their way."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._alone = 0
        self._queue: deque[_Offer] = deque()
        self._untold: deque[tuple[_Offer, int]] = deque()
        """What is stored, and its sequence."""
        self._committing: asyncio.Task[None] | None = None

    async def publish(self, segment: int, stream: str, payload: bytes, *, after: int, timeout_s: float) -> int:
        """Store one message of a stream in a segment; its sequence.

        Raises:
            Lost: No answer came; it may be stored.
            Refused: It is not stored.
        """
        offer = _Offer(
            segment,
            event_subject(segment, stream),
            payload,
            after,
            timeout_s,
            asyncio.get_running_loop().create_future(),
        )
        if self._alone < _MOST_ALONE and self._committing is None:
            await self._publish_alone(offer)
        else:
            self._queue.append(offer)
            if self._committing is None:
                self._committing = asyncio.create_task(self._commit_all())
        return await offer.sequence

    async def _publish_alone(self, offer: _Offer) -> None:
        self._alone += 1
        headers = {EXPECTED_SEQUENCE: str(offer.after)}
        try:
            answer = await self._wire.ask(offer.subject, offer.payload, timeout_s=offer.timeout_s, headers=headers)
            offer.settle(int(parse(answer)["seq"]))
        except (Lost, Refused, StoreUnavailable) as error:
            offer.settle(error)
        finally:
            self._alone -= 1

    async def _commit_all(self) -> None:
        """Store what has gathered, one batch after the other, until nothing is left.

        Those of the batch before are told some at a time, and what they do next goes on its way at once: the broker
        prepares this batch while they are still at it.
        """
        batch = _Batch()
        try:
            while True:
                await self._extend(batch)
                if self._untold:
                    await self._tell_some()
                elif batch.offers:
                    await self._commit(batch)
                    self._queue.extendleft(reversed(batch.later))
                    batch = _Batch()
                else:
                    return
        finally:
            self._committing = None
            while self._untold:
                self._tell()
            _settle((*batch.offers, *batch.later, *self._queue), Lost("its batch was given up"))
            self._queue.clear()

    async def _extend(self, batch: _Batch) -> None:
        """Send what has gathered, as far as it fits in this batch, once it is too much to go alone."""
        while self._queue and not batch.full:
            offer = self._queue.popleft()
            if not offer.sequence.done():  # else whoever wanted it has been cancelled
                batch.add(offer)
        if len(batch.offers) > _MOST_ALONE:
            await batch.send(self._wire)

    async def _tell_some(self) -> None:
        for _ in range(min(_AT_A_TIME, len(self._untold))):
            self._tell()
        await asyncio.sleep(0)

    def _tell(self) -> None:
        offer, sequence = self._untold.popleft()
        offer.settle(sequence)

    async def _commit(self, batch: _Batch, *, again: bool = False) -> None:
        if len(batch.offers) <= _MOST_ALONE:
            await self._each_alone(batch.offers)
            return
        try:
            first = await batch.commit(self._wire)
            self._untold.extend(zip(batch.offers, range(first, first + len(batch.offers)), strict=True))
        except Refused as error:
            if error.code == SEALED:
                _settle(batch.offers, error)
            elif again or error.code not in WRONG_LAST_SEQUENCE:
                await self._each_alone(batch.offers)
            else:
                await self._commit(await self._without_late(batch, error), again=True)
        except (Lost, StoreUnavailable) as error:
            _settle(batch.offers, error)

    async def _each_alone(self, offers: Iterable[_Offer]) -> None:
        async with asyncio.TaskGroup() as group:
            for offer in offers:
                group.create_task(self._publish_alone(offer))

    async def _without_late(self, batch: _Batch, error: Refused) -> _Batch:
        """Tell those that came too late, or may have: they look for themselves; the others, to be tried again."""
        subjects = [offer.subject for offer in batch.offers]
        segment, timeout_s = batch.offers[-1].segment, batch.offers[-1].timeout_s
        ends = await self._wire.last_sequences(segment, subjects, timeout_s=timeout_s)
        _settle((offer for offer, end in zip(batch.offers, ends, strict=True) if end != offer.after), error)
        return _Batch([offer for offer in batch.offers if not offer.sequence.done()])


def _settle(offers: Iterable[_Offer], outcome: _Failure) -> None:
    for offer in offers:
        offer.settle(outcome)
