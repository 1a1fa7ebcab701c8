"""Keeps the sums of limits: one page of reservations an append, whoever asked meanwhile is on the next one."""

import asyncio
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

import anyio
import structlog

from dominie_contracts import Draft, Payload, Recorded, StreamName, Unavailable
from dominie_contracts.action import fold
from dominie_contracts.guardrail import LIMIT, Booking, Reservation, Reserve, SharesReserved
from dominie_contracts.registry import parse_event, parse_own
from dominie_eventstore import EventStoreError, EventTooLarge, WrongExpectedVersion
from dominie_guardrail.limits.aggregate import Sums, Use, month, reserve, settled, verdict
from dominie_kit import Actions, Context
from dominie_kit.context import deadline_in

_PAGE, _TRIES, _AT_A_TIME = 500, 8, 32
_WRITE_S, _PAUSE_S = 10.0, 0.005
_Verdict = tuple[Booking, bool | None]
"""A booking, and what became of it; see `verdict`."""
log = structlog.get_logger()


@dataclass(slots=True)
class _Book:
    """One tenant's month: its sums as far as they were read, and who waits for an answer."""

    stream: StreamName
    sums: Sums | None = None
    swept: bool = False
    """Whether anybody here has looked what became of its bookings."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: list[tuple[Reserve, asyncio.Future[Reservation]]] = field(default_factory=list)
    page: int = _PAGE
    """So many are answered with one append."""


class Log(Protocol):
    """What is needed of the event store."""

    async def read(self, stream: StreamName, *, after_version: int = 0) -> Sequence[Recorded]:
        """See `EventStore.read`."""
        ...

    async def append(self, stream: StreamName, drafts: Sequence[Draft], *, expected_version: int) -> object:
        """See `EventStore.append`."""
        ...


class Ledger:
    """The bookings of every tenant. Another instance may keep them too: who comes second reads, and tries again."""

    def __init__(
        self, store: Log, actions: Actions, *, vanish_s: float, now: Callable[[], datetime] | None = None
    ) -> None:
        self._store = store
        self._actions = actions
        self._vanish_ms = int(vanish_s * 1000)
        self._now = now or (lambda: datetime.now(UTC))
        self._books: dict[StreamName, _Book] = {}

    async def reserve(self, command: Reserve, context: Context) -> Reservation:
        """A share of each limit that a command names, or of none; durable when it is granted."""
        book = self._book(context.tenant)
        answer: asyncio.Future[Reservation] = asyncio.get_running_loop().create_future()
        book.waiting.append((command, answer))
        async with book.lock:
            while not answer.done():
                await self._answer(book)
        return answer.result()

    async def look(self, tenant: str, read: Callable[[Sums, datetime], list[Use]]) -> list[Use]:
        """What is used now, as the log says, whichever instance wrote it."""
        book = self._book(tenant)
        async with book.lock:
            sums = await self._sums(book)
            for event in await self._store.read(book.stream, after_version=sums.version):
                sums.apply(parse_own(event))
            return read(sums, self._now())

    async def sweep(self) -> None:
        """See what became of the bookings: what failed or never began is free again."""
        for book in list(self._books.values()):
            try:
                await self._sweep(book)
            except (EventStoreError, Unavailable) as error:  # of this tenant; the others' go on
                log.warning("guardrail.limits_unsettled", tenant=book.stream.tenant, error=type(error).__name__)

    async def run(self, every_s: float) -> None:
        """Sweep, for ever."""
        while True:
            await anyio.sleep(every_s)
            await self.sweep()

    async def _sweep(self, book: _Book) -> None:
        async with book.lock:
            bookings = list((await self._sums(book)).open.values())
        for first in range(0, len(bookings), _PAGE):
            found = await self._verdicts(book, bookings[first : first + _PAGE])  # others reserve meanwhile
            async with book.lock:
                await self._settle(book, found)
        async with book.lock:
            if book.sums is not None and not book.sums.open and book.stream.id != month(self._now()):
                del self._books[book.stream]

    def _book(self, tenant: str) -> _Book:
        stream = StreamName(tenant, LIMIT, month(self._now()))
        return self._books.setdefault(stream, _Book(stream))

    async def _answer(self, book: _Book) -> None:
        """Answer a page of those who wait; whoever gave up meanwhile is answered too, and their booking vanishes."""
        page = book.waiting[: book.page]
        try:
            found = await self._booked(book, [command for command, _ in page])
        except (EventStoreError, Unavailable) as error:
            if isinstance(error, EventTooLarge) and len(page) > 1:  # each wants a share of many limits: fewer at once
                book.page = len(page) // 2
                return
            for _, answer in page:
                if not answer.done():
                    answer.set_exception(error)
        else:
            for (_, answer), one in zip(page, found, strict=True):
                if not answer.done():
                    answer.set_result(one)
        del book.waiting[: len(page)]

    async def _booked(self, book: _Book, commands: list[Reserve]) -> list[Reservation]:
        if not book.swept:  # what nobody had settled when this process began must not refuse anybody for good
            bookings = list((await self._sums(book)).open.values())[:_PAGE]
            await self._settle(book, await self._verdicts(book, bookings))
            book.swept = True
        for number in range(_TRIES):
            sums = await self._sums(book)
            answers, bookings = reserve(sums, commands, self._now(), renew_ms=self._vanish_ms // 2)
            if not bookings or await self._append(book, sums, SharesReserved(bookings=tuple(bookings))):
                return answers
            await anyio.sleep(random.uniform(0, _PAUSE_S * (number + 1)))
        raise Unavailable("others are reserving too; ask again with the same key", retry_after_s=0.1)

    async def _verdicts(self, book: _Book, bookings: Sequence[Booking]) -> list[_Verdict]:
        """What became of some bookings, as their trails say; of one that cannot be read nobody can tell yet."""
        found, unread, reading = list[_Verdict](), list[Exception](), iter(bookings)

        async def read() -> None:
            for booking in reading:
                try:
                    found.append((booking, await self._verdict(book, booking)))
                except (EventStoreError, Unavailable) as error:
                    unread.append(error)

        await asyncio.gather(*(read() for _ in range(min(_AT_A_TIME, len(bookings)))))
        if unread:
            log.warning("guardrail.trails_unread", tenant=book.stream.tenant, count=len(unread), error=str(unread[0]))
        return found

    async def _verdict(self, book: _Book, booking: Booking) -> bool | None:
        stream = StreamName(book.stream.tenant, booking.category, booking.action)
        trail = [parse_event(event.type, event.envelope.data) for event in await self._store.read(stream)]
        state = fold(payload for payload in trail if payload is not None)
        now_ms = int(self._now().timestamp() * 1000)
        return verdict(state, booked_ms=booking.at_ms, now_ms=now_ms, vanish_ms=self._vanish_ms)

    async def _settle(self, book: _Book, found: Sequence[_Verdict]) -> None:
        """Write what became of bookings that stand as they did when that was seen: nobody took more meanwhile."""
        sums = await self._sums(book)
        event = settled((seen.action, yes) for seen, yes in found if sums.open.get(seen.action) == seen)
        if event is not None:
            await self._append(book, sums, event)

    async def _sums(self, book: _Book) -> Sums:
        if book.sums is None:
            sums = Sums()
            for event in await self._store.read(book.stream):
                sums.apply(parse_own(event))
            book.sums = sums
        return book.sums

    async def _append(self, book: _Book, sums: Sums, event: Payload) -> bool:
        """Write a page; False if somebody else wrote before: what is known here is read anew."""
        context = Context(
            tenant=book.stream.tenant,
            principal="svc-guardrail",
            key=uuid.uuid4().hex,
            deadline=deadline_in(_WRITE_S),
        )
        known, book.sums = sums.version, None  # until the answer has come nobody knows what is written
        try:
            await self._store.append(
                book.stream, self._actions.drafts(context, book.stream, event), expected_version=known
            )
        except WrongExpectedVersion:
            return False
        sums.apply(event)
        book.sums = sums
        return True
