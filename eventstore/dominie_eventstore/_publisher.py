"""Publishing appends. Many at once go out as one atomic batch (NATS ADR-50), so that one fsync stores them all.

An append is one message either way. A batch is stored in whole or not at all, and one append that comes too late
spoils all of it without being named: a refused batch is cut in two, and its parts are tried again.
"""

import asyncio
from dataclasses import dataclass
from secrets import token_hex
from typing import Final

from nats.errors import Error

from dominie_eventstore._wire import EXPECTED_SEQUENCE, WRONG_LAST_SEQUENCE, Lost, Refused, Wire, parse

_MOST_ALONE: Final = 8
"""Appends on their way, each by itself; more than these go together."""
_LARGEST_BATCH: Final = 256
_LARGEST_BATCH_BYTES: Final = 4 * 1024 * 1024


@dataclass(slots=True, eq=False)
class _Offer:
    """A message to be stored if its subject's last one has the sequence `after`."""

    subject: str
    payload: bytes
    after: int
    outcome: int | Lost | Refused | None = None

    @property
    def headers(self) -> dict[str, str]:
        return {EXPECTED_SEQUENCE: str(self.after)}


class Publisher:
    """Stores messages, the more at once the more are on their way."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._alone = 0
        self._queue: list[_Offer] = []
        self._turn = asyncio.Lock()

    async def publish(self, subject: str, payload: bytes, *, after: int, timeout_s: float) -> int:
        """Store one message; its sequence.

        Raises:
            Lost: No answer came; it may be stored.
            Refused: It is not stored.
        """
        offer = _Offer(subject, payload, after)
        if self._alone < _MOST_ALONE and not self._turn.locked():
            await self._publish_alone(offer, timeout_s)
        else:
            await self._publish_together(offer, timeout_s)
        if isinstance(offer.outcome, int):
            return offer.outcome
        raise offer.outcome or Lost(f"{subject}: given up")

    async def _publish_alone(self, offer: _Offer, timeout_s: float) -> None:
        self._alone += 1
        try:
            answer = await self._wire.ask(offer.subject, offer.payload, timeout_s=timeout_s, headers=offer.headers)
            offer.outcome = int(parse(answer)["seq"])
        except (Lost, Refused) as error:
            offer.outcome = error
        finally:
            self._alone -= 1

    async def _publish_together(self, offer: _Offer, timeout_s: float) -> None:
        """Whose turn it is publishes everything that has gathered since the last turn."""
        self._queue.append(offer)
        try:
            async with self._turn:
                if offer.outcome is None:
                    await self._commit(self._gathered(offer), timeout_s)
        finally:
            if offer in self._queue:
                self._queue.remove(offer)

    def _gathered(self, first: _Offer) -> list[_Offer]:
        """A batch: one message a subject (a second one would always be refused), and of bounded size."""
        batch: dict[str, _Offer] = {first.subject: first}
        size = len(first.payload)
        for offer in self._queue:
            if len(batch) == _LARGEST_BATCH or size >= _LARGEST_BATCH_BYTES:
                break
            if offer.subject not in batch:
                batch[offer.subject] = offer
                size += len(offer.payload)
        chosen = set(batch.values())
        self._queue = [offer for offer in self._queue if offer not in chosen]
        return list(batch.values())

    async def _commit(self, batch: list[_Offer], timeout_s: float) -> None:
        if len(batch) == 1:
            await self._publish_alone(batch[0], timeout_s)
            return
        try:
            last = await self._publish_batch(batch, timeout_s)
        except Refused as error:
            await self._cut(batch, error, timeout_s)
        except Lost as error:
            _settle(batch, error)
        else:
            for sequence, offer in enumerate(batch, last - len(batch) + 1):
                offer.outcome = sequence
        finally:
            _settle(batch, Lost("its batch was given up"))

    async def _cut(self, batch: list[_Offer], error: Refused, timeout_s: float) -> None:
        """Try the parts of a refused batch: halves while one append may be to blame, else each by itself."""
        half = len(batch) // 2 if error.code == WRONG_LAST_SEQUENCE else 1
        parts = [batch[:half], batch[half:]] if half > 1 else [[offer] for offer in batch]
        for part in parts:
            await self._commit(part, timeout_s)

    async def _publish_batch(self, batch: list[_Offer], timeout_s: float) -> int:
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
        headers = {**offer.headers, **commit}
        return int(
            parse(await self._wire.ask(offer.subject, offer.payload, timeout_s=timeout_s, headers=headers))["seq"]
        )


def _settle(batch: list[_Offer], error: Lost) -> None:
    for offer in batch:
        if offer.outcome is None:
            offer.outcome = error
