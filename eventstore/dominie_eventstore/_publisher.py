"""Publishing appends. Many at once go out as one atomic batch (NATS ADR-50), so that one fsync stores them all.

An append is one message either way. A batch is stored in whole or not at all, and one append that comes too late
spoils all of it without being named: a refused batch is cut in two, and its parts are tried again.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from nats.errors import Error

from dominie_eventstore._errors import StoreUnavailable
from dominie_eventstore._wire import EXPECTED_SEQUENCE, WRONG_LAST_SEQUENCE, Lost, Refused, Wire, parse

_MOST_ALONE: Final = 8
"""Appends on their way, each by itself; more than these go together."""
_LARGEST_BATCH: Final = 1000
_LARGEST_BATCH_BYTES: Final = 4 * 1024 * 1024
_AT_A_TIME: Final = 16
_Failure = Lost | Refused | StoreUnavailable


@dataclass(slots=True, eq=False)
class _Offer:
    """A message to be stored if its subject's last one has the sequence `after`."""

    subject: str
    payload: bytes
    after: int
    timeout_s: float
    sequence: asyncio.Future[int]

    @property
    def headers(self) -> dict[str, str]:
        return {EXPECTED_SEQUENCE: str(self.after)}


class Publisher:
    """Stores messages, the more at once the more are on their way."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._alone = 0
        self._queue: deque[_Offer] = deque()
        self._committing: asyncio.Task[None] | None = None

    async def publish(self, subject: str, payload: bytes, *, after: int, timeout_s: float) -> int:
        """Store one message; its sequence.

        Raises:
            Lost: No answer came; it may be stored.
            Refused: It is not stored.
        """
        offer = _Offer(subject, payload, after, timeout_s, asyncio.get_running_loop().create_future())
        if self._alone < _MOST_ALONE and self._committing is None:
            await self._publish_alone(offer)
        else:
            self._queue.append(offer)
            if self._committing is None:
                self._committing = asyncio.create_task(self._commit_all())
        return await offer.sequence

    async def _publish_alone(self, offer: _Offer) -> None:
        self._alone += 1
        try:
            answer = await self._wire.ask(
                offer.subject, offer.payload, timeout_s=offer.timeout_s, headers=offer.headers
            )
            _settle([offer], int(parse(answer)["seq"]))
        except (Lost, Refused, StoreUnavailable) as error:
            _settle([offer], error)
        finally:
            self._alone -= 1

    async def _commit_all(self) -> None:
        """Publish what has gathered, one batch after the other, until nothing is left."""
        try:
            while batch := self._gathered():
                await self._commit(batch)
        finally:
            self._committing = None

    def _gathered(self) -> list[_Offer]:
        """A batch: one message a subject (a second one would always be refused), and of bounded size."""
        batch: dict[str, _Offer] = {}
        again: list[_Offer] = []
        size = 0
        while self._queue and len(batch) < _LARGEST_BATCH and size < _LARGEST_BATCH_BYTES:
            offer = self._queue.popleft()
            if offer.sequence.done():
                continue  # whoever wanted it has been cancelled
            if offer.subject in batch:
                again.append(offer)
            else:
                batch[offer.subject] = offer
                size += len(offer.payload)
        self._queue.extendleft(reversed(again))
        return list(batch.values())

    async def _commit(self, batch: list[_Offer]) -> None:
        if len(batch) == 1:
            await self._publish_alone(batch[0])
            return
        try:
            last = await self._publish_batch(batch)
        except Refused as error:
            await self._cut(batch, error)
        except (Lost, StoreUnavailable) as error:
            _settle(batch, error)
        else:
            await self._tell(batch, last - len(batch) + 1)
        finally:
            _settle(batch, Lost("its batch was given up"))

    async def _tell(self, batch: list[_Offer], first: int) -> None:
        """Tell them their sequences, some at a time: what they do next shall not keep the next batch waiting."""
        for place in range(0, len(batch), _AT_A_TIME):
            _settle(batch[place : place + _AT_A_TIME], first + place)
            await asyncio.sleep(0)

    async def _cut(self, batch: list[_Offer], error: Refused) -> None:
        """Try the parts of a refused batch: halves while one append may be to blame, else each by itself."""
        half = len(batch) // 2 if error.code == WRONG_LAST_SEQUENCE else 1
        parts = [batch[:half], batch[half:]] if half > 1 else [[offer] for offer in batch]
        for part in parts:
            await self._commit(part)

    async def _publish_batch(self, batch: list[_Offer]) -> int:
        """The sequence of the batch's last message."""
        name = token_hex(8)
        try:
            for number, offer in enumerate(batch[:-1], 1):
                headers = {**offer.headers, "Nats-Batch-Id": name, "Nats-Batch-Sequence": str(number)}
                await self._wire.nc.publish(offer.subject, offer.payload, headers=headers)
        except (Error, OSError) as error:
            raise Lost(f"a batch of {len(batch)}: {error!r}") from error
        offer = batch[-1]
        commit = {"Nats-Batch-Id": name, "Nats-Batch-Sequence": str(len(batch)), "Nats-Batch-Commit": "1"}
        answer = await self._wire.ask(
            offer.subject, offer.payload, timeout_s=offer.timeout_s, headers={**offer.headers, **commit}
        )
        return int(parse(answer)["seq"])


def _settle(offers: Sequence[_Offer], outcome: int | _Failure) -> None:
    """Tell those who still wait: the first one's sequence, or what went wrong for all of them."""
    for number, offer in enumerate(offers):
        if offer.sequence.done():
            continue
        if isinstance(outcome, int):
            offer.sequence.set_result(outcome + number)
        else:
            offer.sequence.set_exception(outcome)
