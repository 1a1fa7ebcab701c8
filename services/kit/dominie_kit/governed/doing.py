"""Does the work of an action: under a lease, once, and with its outcome on the record.

Who meets the record of work that was begun waits for its outcome, or takes over once the lease has run out
(docs/design.md, "Events").
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

import anyio

from dominie_contracts import Conflict, DeadlineExceeded, Problem, Unavailable
from dominie_contracts.action import Finished, Started, Unknown
from dominie_contracts.problems import problem_from
from dominie_eventstore import EventStore, EventStoreError, EventTooLarge, WrongExpectedVersion
from dominie_kit.bus import bounded, now_ms
from dominie_kit.governed.trails import Trails
from dominie_kit.governed.work import Action, Lost, NotDone, Outcome, Work

_POLL_S = 0.05


class Doing(Trails):
    """Work of one instance of a service."""

    def __init__(
        self,
        store: EventStore,
        policies: Callable[[str], str | None],
        *,
        service: str,
        category: str,
        instance: str,
    ) -> None:
        super().__init__(store, policies, service=service, category=category)
        self._instance = instance

    async def _take_over(self, action: Action, work: Work) -> Action:
        started = action.state.started
        assert started is not None
        if work.owner is not None and started.owner == work.owner:
            return action
        while started.owner != self._instance and now_ms() < started.lease_ms:
            left_s = action.context.left_s
            await anyio.sleep(min(_POLL_S, left_s))
            version = action.state.version
            await self.reload(action)
            if action.state.version != version:
                raise WrongExpectedVersion(str(action.stream), expected=version, actual=action.state.version)
        if not work.repeatable:
            await self.append(action, Unknown(why=f"{started.owner} ended before the outcome was recorded"))
            raise Conflict("nobody can tell whether this happened; a person has to settle it")
        await self.append(action, self._started(action, work))
        return await self._run(action, work)

    async def _run(self, action: Action, work: Work) -> Action:
        try:
            async with self._lease(action, work):
                outcome = await self._attempt(action, work)
        except NotDone as error:
            started = self._started(action, work, renewed=True)
            given_back = started.model_copy(update={"lease_ms": now_ms(), "renewed": False, "given_back": True})
            await self.append(action, given_back)
            raise error.problem from error
        except Lost as lost:
            if work.repeatable:
                raise try_again(lost) from lost
            await self.append(action, *action.beside, Unknown(why=str(lost)))
            raise Conflict("nobody can tell whether this happened; a person has to settle it") from lost
        if outcome is None:
            return self._result(action)
        try:
            await self.append(action, *outcome.more, outcome.finished)
        except EventTooLarge as error:  # it is done: running it again would do it twice, and lose as much
            await self.append(action, Unknown(why=too_large(error)))
            raise Conflict(f"it ended, and {too_large(error)}; a person has to settle it", action=action.id) from error
        return self._result(action)

    @contextlib.asynccontextmanager
    async def _lease(self, action: Action, work: Work) -> AsyncIterator[None]:
        """Hold the action: renew its lease, halfway through each time, until the work has ended."""
        ended = asyncio.Event()

        async def renew() -> None:
            while not await _is_set(ended, within_s=work.lease_s / 2):
                await self.append(action, self._started(action, work, renewed=True))

        renewing = asyncio.create_task(renew())
        try:
            yield
        finally:
            ended.set()
            with contextlib.suppress(WrongExpectedVersion, EventStoreError):
                await renewing

    async def _attempt(self, action: Action, work: Work) -> Outcome | None:
        begun = time.perf_counter()
        noting = [asyncio.create_task(self.note(action, matter)) for matter in work.notes]
        try:
            return await work.run(action)
        except (DeadlineExceeded, Unavailable):
            raise
        except Problem as problem:
            ended = failed(problem, duration_ms=(time.perf_counter() - begun) * 1000)
            return Outcome(ended, tuple(action.beside))
        finally:
            if noting:
                await asyncio.gather(*noting)

    def _result(self, action: Action) -> Action:
        finished = action.state.finished
        if finished is not None and finished.problem is not None:
            raise problem_from(finished.problem)
        return action

    def _started(self, action: Action, work: Work, *, renewed: bool = False) -> Started:
        attempt = action.state.started.attempt if action.state.started else 0
        return Started(
            owner=work.owner or self._instance,
            lease_ms=now_ms() + int(work.lease_s * 1000),
            attempt=attempt if renewed else attempt + 1,
            enforcement=work.enforcement,
            layers=work.layers,
            renewed=renewed,
        )


async def _is_set(event: asyncio.Event, *, within_s: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), within_s)
    except TimeoutError:
        return False
    return True


def failed(problem: Problem, *, duration_ms: float = 0.0) -> Finished:
    """What the record says of an action that ended with a problem."""
    return Finished(outcome="error", problem=bounded(problem.details), duration_ms=round(duration_ms, 3))


def try_again(lost: Lost) -> Unavailable:
    """What is said where the outcome was lost, and a repetition finds it."""
    return Unavailable(f"{lost}; ask again with the same key", retry_after_s=0.2)


def too_large(error: EventTooLarge) -> str:
    """What is said of an outcome that no event has room for."""
    return f"what came of it is {error.size} bytes in the event log, and {error.limit} fit: ask for less at once"
