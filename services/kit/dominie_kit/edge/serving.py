"""The edge of a service: who is asking, may they be heard, and the answer into their own inbox.

Every request ends with a reply, a problem or its deadline, never by hanging. A repeated command joins the first one
while that is under way; afterwards the action's own record answers it.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import anyio
import nats.errors
import structlog
from nats.aio.msg import Msg

from dominie_contracts import (
    Command,
    CommandSubject,
    Conflict,
    DeadlineExceeded,
    Invalid,
    Problem,
    Unavailable,
    headers,
)
from dominie_contracts.digests import action_id
from dominie_contracts.subjects import PLATFORM
from dominie_eventstore import EventTooLarge, StoreUnavailable
from dominie_kit.bus import problem_body
from dominie_kit.context import Context
from dominie_kit.edge.admission import Admission, Route, parse
from dominie_kit.edge.incoming import addressed, speaker
from dominie_kit.edge.refusals import COUNTED, NOBODY, RefusalTally, Who
from dominie_kit.personal.sealing import PersonKey

_Answer = tuple[bytes, dict[str, str]]
BEGIN = 32
"""So many commands of a principal are under way at once to begin with; one more for each that was handled."""
MOST_ASKERS = 16
"""So many wait for one command's answer at once: a repeat joins it, and is held until it is answered."""
SLOT_BYTES = 8 * 1024
"""A command counts as one for each so many bytes: a large one is more work."""
NOWHERE: Who = PLATFORM, NOBODY
_AS_ARTIFACTS = "put large values as artifacts"
_FULL = {headers.PROBLEM: Unavailable.type}
log = structlog.get_logger()


@dataclass(frozen=True, slots=True, eq=False)
class _Asker:
    """Somebody who waits for an answer, and the timer that answers them at their deadline."""

    message: Msg
    late: asyncio.TimerHandle


@dataclass(frozen=True, slots=True, eq=False)
class _Flight:
    """A command under way, and who asked for it: the first, and those whose repeats joined."""

    subject: str
    body: bytes
    askers: list[_Asker] = field(default_factory=list)


class Edge:
    """Takes the messages of one service's routes."""

    def __init__(
        self,
        service: str,
        admission: Admission,
        *,
        max_in_flight: int,
        max_in_flight_each: int,
        person: Callable[[str, str], Awaitable[PersonKey]],
        not_ready: Callable[[], Problem | None] = lambda: None,
    ) -> None:
        self.handled = self.refused = 0
        self._service = service
        self._admission = admission
        self._person = person
        self._max_in_flight = max_in_flight
        self._max_in_flight_each = max_in_flight_each
        self._each: Counter[Who] = Counter()
        self._earned: Counter[Who] = Counter()
        self.refusals = RefusalTally(service, time.monotonic)
        self._not_ready = not_ready
        self._untold = deque[tuple[Msg, bytes]]()
        self._flights: dict[tuple[str, ...], _Flight] = {}
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def in_flight(self) -> int:
        """Commands under way."""
        return len(self._flights)

    @asynccontextmanager
    async def open(self, *, drain_s: float = 3.0) -> AsyncIterator[None]:
        """Take messages; at the end, finish what was begun, for so many seconds, and cancel what is left."""
        async with asyncio.TaskGroup() as self._group:
            try:
                yield
            finally:
                with anyio.move_on_after(drain_s, shield=True):
                    await self.drained()
                self._group = None
                for task in self._tasks:
                    task.cancel()

    async def drained(self) -> None:
        """Wait until no command is under way and every answer is sent."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def ignores(self, subject: bytes) -> bool:
        """Whether what comes on a subject is dropped unread: its principal was refused too often just now."""
        who = speaker(subject)
        if who is None or not self.refusals.is_shut(who):
            return False
        self.refused += 1
        return True

    def take(self, route: Route, message: Msg) -> None:
        """Begin what a message asks for, or join it where it is under way, or refuse it; never waits.

        It is answered if there is a right place to answer.
        """
        try:
            subject, inbox = addressed(message.subject)
        except Problem:
            self._drop(NOWHERE, "no subject")
            return
        who = (subject.tenant, subject.principal) if subject else NOWHERE
        if not message.reply.startswith(inbox):
            self._drop(who, "not its inbox")
            return
        if self._group is None:
            self._drop(who, "ending")
            return
        if subject and (full := self._full(who, message)) is not None:
            self.refusals.note(who, "too many at once")
            self._tell(message, full)
            return
        try:
            self._begin(route, message, subject)
        except Exception as error:
            if isinstance(error, Problem) and error.type in COUNTED:
                self.refusals.note(who, error.type)
            self._start(self._send(message, *self._refusal(message.subject, error, None)))

    def _drop(self, who: Who, why: str) -> None:
        """Counted, and not logged: whoever is dropped must not fill the disk."""
        self.refused += 1
        self.refusals.note(who, why)

    def _start(self, work: Coroutine[None, None, None]) -> None:
        assert self._group is not None
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _begin(self, route: Route, message: Msg, subject: CommandSubject | None) -> None:
        context = self._admission.admit(route, message, subject)
        name = (context.tenant, context.principal, context.user or "", route.command.NAME, context.own_key)
        flight = self._flights.get(name)
        if flight is not None:
            if flight.body != message.data:
                raise Conflict("this key is being used for another request; use a new key")
            if len(flight.askers) < MOST_ASKERS:
                message.data = flight.body  # one copy for all
                self._join(flight, message, context.left_s)
            else:
                self.refusals.note((context.tenant, context.principal), "too many at once")
                self._tell(message, _AS_MANY_WAIT)
            return
        if not route.early and (refusal := self._not_ready()) is not None:
            raise refusal
        if self.in_flight >= self._max_in_flight:
            raise Unavailable(f"{self._service} is busy with {self.in_flight} commands", retry_after_s=0.25)
        command = parse(route, message, context)
        flight = _Flight(message.subject, message.data)
        self._join(flight, message, context.left_s)
        self._flights[name] = flight
        self._each[name[0], name[1]] += _slots(message.data)
        self._start(self._fly(route, command, context, name))

    def _full(self, who: Who, message: Msg) -> bytes | None:
        """What a principal is told that has as many commands under way as it may.

        Asked before anything else is, and not in the log: many of these come at once, and must cost others nothing.
        """
        held, most = self._each[who], min(self._max_in_flight_each, BEGIN + self._earned[who])
        if not held or held + _slots(message.data) <= most or who[0] == PLATFORM:
            return None
        return _full_body(self._service, who[1], most)

    def _tell(self, message: Msg, body: bytes) -> None:
        """Answer soon, in one task with all who wait to be told so."""
        self._untold.append((message, body))
        if len(self._untold) == 1:
            self._start(self._tell_all())

    async def _tell_all(self) -> None:
        while self._untold:
            await self._send(*self._untold.popleft(), _FULL)

    def _join(self, flight: _Flight, message: Msg, left_s: float) -> None:
        timer = asyncio.get_running_loop().call_later(left_s, self._late, flight, message)
        flight.askers.append(_Asker(message, timer))

    def _late(self, flight: _Flight, message: Msg) -> None:
        if self._group is None:
            return
        flight.askers[:] = [asker for asker in flight.askers if asker.message is not message]
        problem = DeadlineExceeded("the time ran out; what was begun goes on: ask again with the same key")
        self._start(self._send(message, *self._refusal(message.subject, problem, None)))

    async def _fly(self, route: Route, command: Command, context: Context, name: tuple[str, ...]) -> None:
        """Handle a command, and answer everybody who asks for it before that is done."""
        flight = self._flights[name]
        try:
            answer = await self._handle(route, command, context, flight.subject)
            while flight.askers:
                asker = flight.askers.pop()
                asker.late.cancel()
                await self._send(asker.message, *answer)
        finally:
            for asker in flight.askers:
                asker.late.cancel()
            del self._flights[name]
            self._landed((name[0], name[1]), _slots(flight.body))

    def _landed(self, who: Who, slots: int) -> None:
        self._each[who] -= slots
        if not self._each[who]:
            del self._each[who]
        if self._earned[who] < self._max_in_flight_each:
            self._earned[who] += 1

    async def _handle(self, route: Route, command: Command, context: Context, subject: str) -> _Answer:
        try:
            if context.user is not None:
                context.person = await self._person(context.tenant, context.user)
            reply = await route.handler(command, context)
        except Exception as error:
            if isinstance(error, Problem) and error.type in COUNTED and not context.position:
                who = (context.tenant, context.principal) if context.tenant != PLATFORM else NOWHERE
                self.refusals.note(who, error.type)  # nothing that was written says so
            return self._refusal(subject, error, context)
        self.handled += 1
        return reply.model_dump_json().encode(), {headers.POSITION: str(context.position)}

    def _refusal(self, subject: str, error: Exception, context: Context | None) -> _Answer:
        """The answer that says what went wrong; the log says once of what kind that was, and of which action."""
        if isinstance(error, Problem):
            problem = error
            log.info("edge.problem", subject=subject, type=problem.type, **self._about(context, problem))
        elif isinstance(error, StoreUnavailable):
            log.warning("edge.log_away", subject=subject, error=str(error))
            problem = Unavailable(f"{self._service} cannot write to the event log ({error})", retry_after_s=1)
        elif isinstance(error, EventTooLarge):
            log.info("edge.too_large", subject=subject, size=error.size)
            problem = Invalid(f"this is {error.size} bytes in the event log, and {error.limit} fit: {_AS_ARTIFACTS}")
        else:
            log.error("edge.failed", subject=subject, error=type(error).__name__, exc_info=error)
            problem = Unavailable(f"{self._service} failed; its log says why", retry_after_s=1)
        return problem_body(problem.details), {headers.PROBLEM: problem.type}

    def _about(self, context: Context | None, problem: Problem) -> dict[str, str]:
        """Which action a problem is of, whose record has its text, and a digest that only the person's key makes.

        Nothing while their key is not at hand: what is made without it can be guessed.
        """
        if context is None or (context.user is not None and context.person is None):
            return {}
        found = {"action": action_id(context.tenant, context.principal, self._service, context.cause)}
        if context.person is not None:
            found["digest"] = context.person.digest(problem.detail)[:16]
        return found

    async def _send(self, message: Msg, body: bytes, found: dict[str, str]) -> None:
        if headers.PROBLEM in found:
            self.refused += 1
        try:
            await message._client.publish(message.reply, body, headers=found)
        except (nats.errors.Error, OSError) as error:  # the asker tries again, and meets the record
            log.warning("edge.unanswered", subject=message.subject, error=repr(error))


_AS_MANY_WAIT = problem_body(
    Unavailable(f"{MOST_ASKERS} wait for this command's answer already", retry_after_s=0.25).details
)


@lru_cache(1024)
def _full_body(service: str, principal: str, most: int) -> bytes:
    text = f"{principal} has as many commands under way at {service} as it may ({most})"
    return problem_body(Unavailable(text, retry_after_s=0.05).details)


def _slots(body: bytes) -> int:
    return 1 + len(body) // SLOT_BYTES
