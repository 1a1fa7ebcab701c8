"""Holds calls to the plan of their run: reads it, checks its digest, and writes down which step each call takes."""

from collections import OrderedDict
from collections.abc import Sequence

from pydantic import ValidationError

from dominie_contracts import (
    BudgetExceeded,
    Forbidden,
    QuotaExceeded,
    Recorded,
    RunClaims,
    StreamName,
    Unavailable,
)
from dominie_contracts.action import ActionState
from dominie_contracts.identity import RUN
from dominie_contracts.plans import Lack, Plan
from dominie_contracts.problems import problem_from
from dominie_contracts.registry import parse_event, parse_own
from dominie_contracts.runs import RunOpened
from dominie_contracts.tool import PLAN, PlanTaken
from dominie_eventstore import EventStore, Folds, WrongExpectedVersion
from dominie_kit import Action, Actions, Context
from dominie_tool.plans.aggregate import Call, Taken, evolve, place

_TRIES = 16
_KEPT = 4096
_RUNS = 1024
_FORKS = 256
_LOOKED_AT = 64
"""So many actions that hold a step are looked at in one go, whether they came to begin."""


class Plans:
    """The plans of runs, and what was taken of them."""

    def __init__(self, store: EventStore, actions: Actions) -> None:
        self._store = store
        self._actions = actions
        self._taken = Folds(store, Taken(), _evolve, snapshots=_RUNS)
        self._known: OrderedDict[tuple[StreamName, str], tuple[Plan, str]] = OrderedDict()
        """With their digests; by their run, and the key of its user, who may be erased."""
        self._parents: OrderedDict[tuple[StreamName, int], Taken] = OrderedDict()
        """What had been taken of a plan up to a position, where runs were forked: that stays as it is."""
        self._begun: OrderedDict[str, None] = OrderedDict()
        """Actions that have begun, so that their step is used up for good."""

    async def lacks(self, action: Action, call: Call) -> Lack | None:
        """Take the step of the plan that a call is of; why it is outside, where it is.

        Raises:
            Forbidden: The plan that the run is bound to is not on record.
            Unavailable: Too many calls of the run take steps at once.
        """
        context = action.context
        assert context.claims is not None
        plan = await self._plan(context)
        stream, before = _stream(context.claims), await self._before(context.claims)
        for _ in range(_TRIES):
            own = await self._taken.load(stream)
            taken, freed = own.after(before), tuple[str, ...]()
            found = place(plan, taken, call)
            if found in ("order", "times") and (freed := await self._not_begun(context, taken, call)):
                found = place(plan, taken.but(freed), call)
            if isinstance(found, str):
                return found
            if taken.steps.get(call.action) == found:
                return None
            try:
                await self._write(context, stream, PlanTaken(action=call.action, step=found, instead_of=freed), own)
            except WrongExpectedVersion:
                continue
            return None
        raise Unavailable("many calls of this run take steps of its plan at once; ask again", retry_after_s=0.2)

    async def _plan(self, context: Context) -> Plan:
        claims = context.claims
        assert claims is not None and claims.plan_digest is not None
        stream = StreamName(claims.tenant, RUN, claims.plan_run or claims.run)
        key = stream, context.person.id if context.person else ""
        if key not in self._known:
            plan = await self._read(stream)
            self._known[key] = plan, plan.digest
            if len(self._known) > _KEPT:
                self._known.popitem(last=False)
        plan, digest = self._known[key]
        if digest != claims.plan_digest:
            raise Forbidden(f"the plan of run {stream.id!r} is not the one that the run token is bound to")
        return plan

    async def _read(self, stream: StreamName) -> Plan:
        """The plan that a run was opened with."""
        payloads = [parse_event(event.type, event.envelope.data) for event in await self._store.read(stream)]
        found = next((each.plan for each in payloads if isinstance(each, RunOpened)), None)
        try:
            return Plan.model_validate(found)
        except ValidationError:
            raise Forbidden(f"the plan of run {stream.id!r} is not on record, or was erased") from None

    async def _before(self, claims: RunClaims) -> Taken:
        """What a forked run has of its parent: the steps that were taken until then."""
        if claims.fork is None:
            return Taken()
        key = StreamName(claims.tenant, PLAN, claims.plan_run or claims.fork.run), claims.fork.at
        if key not in self._parents:
            events = [event for event in await self._store.read(key[0]) if event.position <= claims.fork.at]
            self._parents[key] = _evolve(Taken(), events)
            if len(self._parents) > _FORKS:
                self._parents.popitem(last=False)
        return self._parents[key]

    async def _not_begun(self, context: Context, taken: Taken, call: Call) -> tuple[str, ...]:
        """Actions that hold a step, and were refused before they began."""
        held = [action for action in reversed([*taken.steps]) if action not in self._begun and action != call.action]
        return tuple([action for action in held[:_LOOKED_AT] if await self._was_refused(context, action)])

    async def _was_refused(self, context: Context, id_: str) -> bool:
        state = (await self._actions.load(context, id_)).state
        if not _has_begun(state):
            return state.finished is not None
        self._begun[id_] = None
        if len(self._begun) > _KEPT:
            self._begun.popitem(last=False)
        return False

    async def _write(self, context: Context, stream: StreamName, event: PlanTaken, own: Taken) -> None:
        drafts = self._actions.drafts(context, stream, event)
        await self._store.append(stream, drafts, expected_version=own.version)


def _stream(claims: RunClaims) -> StreamName:
    """Where it is written what is taken: with the run whose plan it is, and a forked run has its own."""
    return StreamName(claims.tenant, PLAN, claims.run if claims.fork else claims.plan_run or claims.run)


def _has_begun(state: ActionState) -> bool:
    """A read has no `started`: where it was allowed and within every limit it was done, also if it failed."""
    finished = state.finished
    if state.started is not None or finished is None:
        return state.started is not None
    if finished.problem is None:
        return True
    allowed = state.decided is not None and state.decided.held == "allow"
    return allowed and not isinstance(problem_from(finished.problem), BudgetExceeded | QuotaExceeded)


def _evolve(taken: Taken, events: Sequence[Recorded]) -> Taken:
    return evolve(taken, [_payload(event) for event in events])


def _payload(event: Recorded) -> PlanTaken:
    payload = parse_own(event)
    assert isinstance(payload, PlanTaken)
    return payload
