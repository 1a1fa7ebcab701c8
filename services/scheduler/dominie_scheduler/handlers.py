"""The scheduler's commands. One instance grants at a time: the queue lives in its memory, the permits in the log."""

import itertools
import math
from dataclasses import dataclass, field

import anyio

from dominie_contracts import BudgetExceeded, DeadlineExceeded, RunClaims, StreamName
from dominie_contracts.scheduler import (
    PERMIT,
    AskPermit,
    Permit,
    PermitGranted,
    PermitReleased,
    Released,
    ReleasePermit,
)
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_kit import Actions, Context
from dominie_kit.bus import now_ms
from dominie_scheduler.aggregate import Waiting, decide, exhausted, has_room, next_waiting
from dominie_scheduler.projection import Offers, Slots

_TICK_S = 0.25


@dataclass(slots=True)
class _Turn:
    waiting: Waiting
    changed: anyio.Event = field(default_factory=anyio.Event)


class Handlers:
    """Answers `permit` and `release`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        slots: Slots,
        offers: Offers,
        *,
        default_slots: int,
        reserve_usd: float,
    ) -> None:
        self._store = store
        self._actions = actions
        self._slots = slots
        self._offers = offers
        self._default_slots = default_slots
        self._reserve_usd = reserve_usd
        self._numbers = itertools.count()
        self._queue: dict[int, _Turn] = {}

    async def permit(self, command: AskPermit, context: Context) -> Permit:
        """Answer when it is this call's turn; the same permit asked for again is the same question."""
        arrived_ms = now_ms()
        until_ms = arrived_ms + min(command.deadline_ms, int(context.left_s * 1000))
        ceilings, agents = (context.claims.ceilings, _agents(context.claims)) if context.claims else ((), {})
        turn = _Turn(Waiting(command, arrived_ms, until_ms, next(self._numbers), ceilings, agents))
        self._queue[turn.waiting.number] = turn
        try:
            while True:
                granted = await self._try(turn, context)
                if granted is not None:
                    return granted
                left_s = (until_ms - now_ms()) / 1000
                if left_s <= 0:
                    raise DeadlineExceeded(f"no slot of {command.model!r} came free in time")
                turn.changed = anyio.Event()
                with anyio.move_on_after(min(_TICK_S, left_s)):
                    await turn.changed.wait()
        finally:
            del self._queue[turn.waiting.number]
            self._wake(command.model)

    async def release(self, command: ReleasePermit, context: Context) -> Released:
        """Give a slot back; one that is not held any more changes nothing."""
        events = decide(self._slots.state, command, now_ms=now_ms(), slots=0, waited_ms=0)
        for event in events:
            await self._write(command.permit, event, context, tenant=command.tenant, expected_version=1)
            self._wake(event.model)
        return Released()

    async def _try(self, turn: _Turn, context: Context) -> Permit | None:
        ask, at_ms = turn.waiting.ask, now_ms()
        held = dict(self._slots.state.holders).get(ask.permit)
        waited_ms = float(at_ms - turn.waiting.arrived_ms)
        if held is not None and held.lease_until_ms > at_ms:
            return Permit(permit=ask.permit, waited_ms=waited_ms, lease_until_ms=held.lease_until_ms)
        if (run := exhausted(self._slots.state, turn.waiting)) is not None:
            raise BudgetExceeded(_spent(run, self._slots.state.spent.get(f"{ask.tenant}/{run}", 0.0)), run=run)
        if next_waiting(self._able(at_ms), ask.model, now_ms=at_ms) is not turn.waiting:
            return None
        slots = self._offers.slots(ask.model, self._default_slots)
        charges = turn.waiting.charges
        for event in decide(self._slots.state, ask, now_ms=at_ms, slots=slots, waited_ms=waited_ms, charges=charges):
            assert isinstance(event, PermitGranted)
            await self._write(ask.permit, event, context, tenant=ask.tenant, expected_version=0)
            return Permit(permit=ask.permit, waited_ms=waited_ms, lease_until_ms=event.lease_until_ms)
        return None

    def _able(self, at_ms: int) -> list[Waiting]:
        """Those in the queue who need not wait for what their own runs have under way."""
        state, reserve_usd = self._slots.state, self._reserve_usd
        queue = (entry.waiting for entry in self._queue.values())
        return [each for each in queue if has_room(state, each, now_ms=at_ms, reserve_usd=reserve_usd)]

    async def _write(
        self,
        permit: str,
        event: PermitGranted | PermitReleased,
        context: Context,
        *,
        tenant: str,
        expected_version: int,
    ) -> None:
        stream = StreamName(tenant, PERMIT, permit)
        (draft,) = self._actions.drafts(context, stream, event)
        self._slots.write(draft.id, event)
        try:
            appended = await self._store.append(stream, [draft], expected_version=expected_version)
        except WrongExpectedVersion as conflict:
            appended = await self._store.append(stream, [draft], expected_version=conflict.actual)
        context.position = appended.position

    def _wake(self, model: str) -> None:
        for turn in self._queue.values():
            if turn.waiting.ask.model == model:
                turn.changed.set()


def _agents(claims: RunClaims) -> dict[str, str]:
    """Whose each run is that a call is part of, its own among them; the first one of the chain is the current agent."""
    runs = (*claims.parents, claims.run)
    return dict(zip(runs, reversed(claims.actors), strict=True)) if len(runs) == len(claims.actors) else {}


def _spent(run: str, usd: float) -> str:
    if math.isinf(usd):
        return f"run {run!r} has a ceiling, and made a call whose price nobody knows: what is left cannot be told"
    return f"run {run!r} has spent all that it may"
