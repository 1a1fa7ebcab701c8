"""What was refused to whom: counted, and written seldom, so that nobody writes by being refused."""

import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import structlog

from dominie_contracts import Problem, StreamName
from dominie_contracts.guardrail import APPROVAL, AnswersRefused
from dominie_eventstore import EventStore, EventStoreError
from dominie_kit import Actions, Context

_ACTIONS = 5
_ASKERS = 4096
log = structlog.get_logger()


@dataclass(slots=True)
class _Window:
    """What one person was refused since their last event."""

    context: Context
    opened_s: float
    problems: Counter[str] = field(default_factory=Counter)
    actions: dict[str, None] = field(default_factory=dict)

    def counted(self) -> AnswersRefused:
        return AnswersRefused(
            by=self.context.principal, problems=dict(sorted(self.problems.items())), actions=tuple(self.actions)
        )


class Refusals:
    """Writes the first refusal of a person at once, and then their number, every so many seconds at most.

    What was counted and not written yet is lost with the process.
    """

    def __init__(self, write: Callable[[Context, AnswersRefused], Awaitable[None]], *, every_s: float) -> None:
        self._write = write
        self._every_s = every_s
        self._windows: dict[tuple[str, str], _Window] = {}

    async def count(self, context: Context, action: str, problem: Problem) -> None:
        """One more."""
        who = context.tenant, context.principal
        window = self._windows.get(who)
        first = window is None
        if window is None:
            window = self._windows[who] = _Window(context, time.monotonic())
        window.context = context
        window.problems[problem.type] += 1
        if len(window.actions) < _ACTIONS:
            window.actions[action[:64]] = None
        if first:
            await self._tell(window)
        while len(self._windows) > _ASKERS:
            del self._windows[next(iter(self._windows))]

    async def run(self) -> None:
        """Write what has been counted for long enough, for ever."""
        while True:
            await anyio.sleep(min(self._every_s, 1.0))
            await self.flush()

    async def flush(self) -> None:
        """Write what has been counted for long enough; who was refused nothing since then is forgotten."""
        now_s = time.monotonic()
        for who, window in list(self._windows.items()):
            if now_s - window.opened_s < self._every_s:
                continue
            if window.problems:
                window.opened_s = now_s
                await self._tell(window)
            else:
                self._windows.pop(who, None)

    async def _tell(self, window: _Window) -> None:
        counted = window.counted()
        window.problems.clear()
        window.actions.clear()
        try:
            await self._write(window.context, counted)
        except EventStoreError as error:  # the refusal itself stands
            log.warning("guardrail.refusals_unwritten", by=counted.by, problems=counted.problems, error=str(error))


def writer(store: EventStore, actions: Actions) -> Callable[[Context, AnswersRefused], Awaitable[None]]:
    """Writes each event into a stream of its own: they are few, and nothing is to be read before one."""

    async def write(context: Context, counted: AnswersRefused) -> None:
        stream = StreamName(context.tenant, APPROVAL, f"refused-{uuid.uuid4().hex}")
        await store.append(stream, actions.drafts(context, stream, counted), expected_version=0)

    return write
