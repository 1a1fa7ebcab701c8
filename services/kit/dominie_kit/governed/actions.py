"""Performs actions: each is decided, waits for people where they are asked, is done once, and leaves its trail.

Who meets the record of a command that was begun already goes on where it stands (docs/design.md, "Events").
"""

import contextlib

from pydantic import JsonValue

from dominie_contracts import (
    Conflict,
    Diverged,
    Forbidden,
    Invalid,
    Payload,
    Problem,
    Unavailable,
)
from dominie_contracts.action import (
    Approved,
    Decided,
    Mistaken,
    Parked,
    Requested,
    fold,
)
from dominie_contracts.approvals import same_asks
from dominie_contracts.digests import digest_json
from dominie_eventstore import EventStore, EventTooLarge, WrongExpectedVersion
from dominie_kit.bus import now_ms
from dominie_kit.context import Context
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.approving import MAX_ROUNDS, Approving, Heard, approval_required, lifted, parked
from dominie_kit.governed.decision import DecisionPoint
from dominie_kit.governed.doing import Doing, failed, too_large, try_again
from dominie_kit.governed.limiting import Limiting
from dominie_kit.governed.past import Calls, Past, Served
from dominie_kit.governed.work import Action, Lost, NotDone, Request, Work
from dominie_kit.policy.policies import Policies
from dominie_kit.policy.question import Question
from dominie_kit.policy.repeated import as_asked

_TRIES = 8


class Actions(Doing):
    """The actions of one service, in the category of its own."""

    def __init__(
        self,
        store: EventStore,
        decisions: DecisionPoint,
        standing: Standing,
        past: Past,
        services: Calls,
        *,
        service: str,
        category: str,
        instance: str,
        observe: bool = False,
    ) -> None:
        super().__init__(store, decisions.digest_for, service=service, category=category, instance=instance)
        self._decisions = decisions
        self._observe = observe
        self._approving = Approving(store, standing)
        self._past = past
        self._limiting = Limiting(services)

    async def perform(self, action: Action, request: Request, question: Question | None, work: Work) -> Action:
        """Carry an action through to its end, or to where it waits; every step is on the record.

        Returns:
            The action, finished with outcome "ok".

        Raises:
            Problem: `Forbidden`, `ApprovalRequired`, `Conflict` (another request under the same key), what the
                work failed with, or `Unavailable` where it may be tried again.
        """
        if action.context.fork is not None and (recorded := await self.recorded(action, request)) is not None:
            return recorded
        requested = self._requested(action.context, request)
        decided = self._decide(action.context, question)
        try:
            if decided is None or not decided.limits or not await self._is_recorded(action):
                return await self._first(action, request, requested, decided, work)
        except WrongExpectedVersion:
            await self.reload(action)
        if action.state.requested is None or action.state.requested.digest != requested.digest:
            raise await self._mistaken(action, requested)
        return await self._again(action, request, question, work)

    async def recorded(self, action: Action, request: Request) -> Action | None:
        """In a forked run, the action as its parent's record has it: nothing is done. None: it is to be done.

        `perform` asks for it; a service that may refuse before it performs asks first.

        Raises:
            Problem: What the record says it failed with; `Diverged` where the record holds something else next.
        """
        if action.context.fork is None or action.live:
            return None
        known = await self.load(action.context, action.id)
        if known.state.requested is not None:
            return self._known(action, known, request)
        try:
            served = await self._past.find(action, request)
        except Diverged as problem:
            raise await self.refuse(action, request, problem) from problem
        if served is None:
            action.live = True
            return None
        await self._copy(action, self._requested(action.context, request), served)
        return self._result(action)

    def policies(self, context: Context) -> Policies:
        """What a command is decided by.

        Raises:
            Forbidden, Unavailable: There are none, or they may be stale.
        """
        return self._decisions.policies(context.tenant, context.fork)

    async def refuse(self, action: Action, request: Request, problem: Problem) -> Problem:
        """Record that the service refused this before any policy was asked; returns the problem to raise."""
        requested = self._requested(action.context, request)
        with contextlib.suppress(WrongExpectedVersion):
            await self.append(action, requested, failed(problem))
        return problem

    def _decide(self, context: Context, question: Question | None) -> Decided | None:
        if question is None:
            return None
        if context.fork is None:
            decided = self._decisions.decide(context.tenant, question)
        else:
            decided = self._decisions.decide_in(context.tenant, context.fork, question)
        more: dict[str, object] = {"observed": True} if self._observe else {}
        if question.labels:
            more["labels"] = dict(question.labels)
        return decided.model_copy(update=more) if more else decided

    def _known(self, action: Action, known: Action, request: Request) -> Action | None:
        """A repeated command of a forked run meets its own record, whatever its parent's says."""
        asked = known.state.requested
        assert asked is not None
        fork = action.context.fork
        same = asked.resource in (request.resource, fork.model if fork else None)
        if not same or (asked.command, asked.arguments) != (request.command, dict(request.arguments)):
            raise Conflict("this key was used for another request; use a new key")
        if known.state.finished is not None:
            return self._result(known)
        action.live = True
        return None

    async def _copy(self, action: Action, requested: Requested, served: Served) -> None:
        """Write a trail of its own, decided under the policies of then, and note what others look for in it."""
        for matter in served.notes:
            await self.note(action, matter)
        payloads = (requested, *((served.decided,) if served.decided else ()), served.finished)
        drafts = [
            draft._replace(policy_version=served.policy_version)
            for draft in self.drafts(action.context, action.stream, *payloads)
        ]
        try:
            appended = await self._store.append(action.stream, drafts, expected_version=0)
        except WrongExpectedVersion:
            await self.reload(action)
            return
        action.state = fold(payloads)
        action.context.position = appended.position

    def _requested(self, context: Context, request: Request) -> Requested:
        arguments = dict(request.arguments)
        asked: dict[str, JsonValue] = {
            "command": request.command,
            "resource": request.resource,
            "version": request.version,
            "arguments": arguments,
            "user": context.user,
        }
        return Requested(
            command=request.command,
            resource=request.resource,
            key=context.key,
            arguments=arguments,
            digest=digest_json(asked, key=context.digests),
            session=request.session or (context.claims.session if context.claims else None),
            priority=request.priority,
            deadline_ms=int(context.left_s * 1000),
        )

    async def _first(
        self, action: Action, request: Request, requested: Requested, decided: Decided | None, work: Work
    ) -> Action:
        opening: tuple[Payload, ...] = (requested,) if decided is None else (requested, decided)
        if decided is not None and decided.held == "deny":
            problem = _forbidden(action, decided)
            await self.append(action, *opening, failed(problem))
            raise problem
        if decided is not None and decided.held == "ask":
            self._decisions.check_asking()
            waiting = parked(action, request, decided.asks)
            await self.note(action, "parked")
            await self.append(action, *opening, waiting)
            raise approval_required(action, waiting, waiting.asks)
        if (used_up := await self._limiting.refusal(action, decided)) is not None:
            await self.append(action, *opening, failed(used_up))
            raise used_up
        if work.effect:
            await self.append(action, *opening, self._started(action, work))
            return await self._run(action, work)
        try:
            outcome = await self._attempt(action, work)
        except NotDone as error:
            raise error.problem from error
        except Lost as lost:
            raise try_again(lost) from lost
        assert outcome is not None, "work whose outcome comes later has an effect"
        finished = outcome.finished.model_copy(update={"layers": work.layers}) if work.layers else outcome.finished
        try:
            await self.append(action, *opening, *outcome.more, finished)
        except EventTooLarge as error:
            await self.append(action, *opening, failed(Invalid(too_large(error))))
        return self._result(action)

    async def _is_recorded(self, action: Action) -> bool:
        """Whether an action has a record: a share of a limit is reserved before the first append would find out."""
        await self.reload(action)
        return action.state.version > 0

    async def _again(self, action: Action, request: Request, question: Question | None, work: Work) -> Action:
        request, question = as_asked(action, request, question)
        for _ in range(_TRIES):
            try:
                match action.state.status:
                    case "finished" | "denied":
                        return self._result(action)
                    case "unknown":
                        raise Conflict("nobody can tell whether this happened; a person has to settle it")
                    case "parked":
                        return await self._resume(action, request, question, work)
                    case "started":
                        return await self._take_over(action, work)
                    case "ready":
                        return await self._begin(action, request, question, work)
                    case _:
                        raise Unavailable("the action's record is incomplete", retry_after_s=1)
            except WrongExpectedVersion:
                await self.reload(action)
        raise Unavailable("others work on this action too; ask again with the same key", retry_after_s=0.2)

    async def _begin(self, action: Action, request: Request, question: Question | None, work: Work) -> Action:
        """Begin what is decided and was given back, if policies, its yeses and its limits still allow it."""
        decided, before = self._decide(action.context, question), action.state.decided
        if decided is not None and decided.held == "deny":
            raise await self._deny(action, decided)
        if decided is not None and decided.held == "ask":
            decided = await self._asked_again(action, request, decided)
        anew = (decided,) if decided is not None and not _same(decided, before) else ()
        if (used_up := await self._limiting.refusal(action, decided)) is not None:
            await self.append(action, *anew, failed(used_up))
            raise used_up
        await self.append(action, *anew, self._started(action, work))
        return await self._run(action, work)

    async def _asked_again(self, action: Action, request: Request, decided: Decided) -> Decided:
        """What asks now, of an action that was given back: it waits for people, or their yes of before still holds."""
        now = parked(action, request, decided.asks)
        if action.state.parked is None:
            self._decisions.check_asking()
            await self.note(action, "parked")
            await self.append(action, decided, now)
            raise approval_required(action, now, now.asks)
        heard = await self._approving.hear(action, action.state.parked, now)
        if heard.refused is not None or heard.left:
            raise await self._refuse(action, heard.refused or "its yes holds no longer; ask with a new key")
        return lifted(decided, heard.yeses)

    async def _resume(self, action: Action, request: Request, question: Question | None, work: Work) -> Action:
        waiting, decided = action.state.parked, self._decide(action.context, question)
        assert waiting is not None and decided is not None, "only what was decided waits"
        if now_ms() > waiting.expires_ms:
            raise await self._refuse(action, "nobody answered in time")
        if decided.held == "deny":
            raise await self._deny(action, decided)
        if decided.observed:
            await self.append(action, decided, self._started(action, work))
            return await self._run(action, work)
        now = parked(action, request, decided.asks)
        heard = await self._approving.hear(action, waiting, now)
        if heard.refused is not None:
            raise await self._refuse(action, heard.refused)
        if heard.left:
            raise await self._wait_on(action, decided, now, heard)
        if (used_up := await self._limiting.refusal(action, decided)) is not None:
            await self.append(action, decided, failed(used_up))
            raise used_up
        used = (Approved(approvals=(action.id,), by=tuple(yes.by for yes in heard.yeses)),) if heard.yeses else ()
        await self.append(action, *used, lifted(decided, heard.yeses), self._started(action, work))
        return await self._run(action, work)

    async def _wait_on(self, action: Action, decided: Decided, now: Parked, heard: Heard) -> Problem:
        """Wait on for what is asked already; what is new or changed, and what has lapsed, goes to people again."""
        waiting = action.state.parked
        assert waiting is not None
        if not heard.lapsed and same_asks(waiting, now.digest, heard.left):
            return approval_required(action, waiting, heard.left)
        if len(action.state.asked) >= MAX_ROUNDS:
            return await self._refuse(action, f"it has asked people {MAX_ROUNDS} times")
        now = now.model_copy(update={"asks": heard.left})
        await self.append(action, decided, now)
        return approval_required(action, now, heard.left)

    async def _deny(self, action: Action, decided: Decided) -> Problem:
        problem = _forbidden(action, decided)
        await self.append(action, decided, failed(problem))
        return problem

    async def _refuse(self, action: Action, why: str) -> Problem:
        problem = Forbidden(f"not approved: {why}", action=action.id)
        await self.append(action, failed(problem))
        return problem

    async def _mistaken(self, action: Action, requested: Requested) -> Conflict:
        """Another request under the key of one that waits is on the record, once: that costs whoever tries nothing."""
        if action.state.status == "parked" and not action.state.mistaken:
            with contextlib.suppress(WrongExpectedVersion):
                await self.append(action, Mistaken(digest=requested.digest))
        return Conflict("this key was used for another request; use a new key", action=action.id)


def _same(decided: Decided, before: Decided | None) -> bool:
    """Whether a decision says what the record does already, but for the time."""
    return before is not None and decided == before.model_copy(update={"clock_s": decided.clock_s})


def _forbidden(action: Action, decided: Decided) -> Forbidden:
    return Forbidden("; ".join(decided.why), action=action.id, policies=list(decided.policies))
