"""Guardrail's commands: publish policies, list and answer approvals."""

from collections.abc import Awaitable, Callable

from dominie_contracts import Conflict, Forbidden, Invalid, Recorded, StreamName, Unauthenticated, Unavailable
from dominie_contracts.guardrail import (
    APPROVAL,
    POLICY,
    POLICY_SET,
    Answered,
    ApprovalAnswered,
    Approvals,
    ApprovalView,
    Approve,
    ListApprovals,
    PoliciesProposed,
    PoliciesPublished,
    PolicyFile,
    Proposed,
    ProposePolicies,
    Published,
    PublishPolicies,
)
from dominie_contracts.identity import WIDENING
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import AUDITORS, DEVELOPERS, OPERATORS
from dominie_contracts.subjects import PLATFORM, check_tenant
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_guardrail.adapters.refusals import Refusals
from dominie_guardrail.aggregate import Approver, State, Waiting, answer, digest_of, evolve, left, publish
from dominie_guardrail.listing import page
from dominie_guardrail.projection import Asked, Entry, Shapes
from dominie_kit import Actions, Context
from dominie_kit.edge.standing import Standing
from dominie_kit.governed.approving import asker_of, signed_answer
from dominie_kit.personal.sealing import PersonKey
from dominie_kit.policy.checking import PolicyError, check_policies
from dominie_kit.policy.rules import diff

_TRIES = 5


class Handlers:
    """Answers `publish`, `propose`, `approvals` and `approve`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        standing: Standing,
        asked: Asked,
        refusals: Refusals,
        person: Callable[[str, str], Awaitable[PersonKey]],
        shapes: Shapes,
        *,
        now_ms: Callable[[], int],
        approval_s: int,
        local: bool,
    ) -> None:
        self._store = store
        self._actions = actions
        self._standing = standing
        self._asked = asked
        self._refusals = refusals
        self._person = person
        self._shapes = shapes
        self._now_ms = now_ms
        self._approval_s = approval_s
        self._local = local

    async def publish(self, command: PublishPolicies, context: Context) -> Published:
        """Validate a set and make it the one in force; the last good one stays if it does not hold."""
        tenant = PLATFORM if command.tenant is None else check_tenant(command.tenant)
        stream = StreamName(tenant, POLICY, POLICY_SET)
        others = await self._beside(tenant)
        count = self._checked(command.files, tenant, others)
        for _ in range(_TRIES):
            recorded = await self._store.read(stream)
            state = State()
            for past in recorded:
                state = evolve(state, _published(past))
            before = state.in_force.files if state.in_force else ()
            events = publish(state, command, by=context.principal, diff=diff(before, command.files))
            if not events:
                digest, position = digest_of(command.files), recorded[-1].position
                return Published(digest=digest, policies=count, changed=False, position=position)
            drafts = self._actions.drafts(context, stream, *events)
            try:
                appended = await self._store.append(stream, drafts, expected_version=len(recorded))
            except WrongExpectedVersion:
                continue
            context.position = appended.position
            (event,) = events
            return Published(
                digest=event.digest, policies=count, changed=True, position=appended.position, diff=event.diff
            )
        raise Invalid("others are publishing too; look at what is in force and try again")

    async def propose(self, command: ProposePolicies, context: Context) -> Proposed:
        """Validate a set and keep it, in the proposer's tenant, for runs that are forked; nothing comes into force."""
        missing = {DEVELOPERS, *(() if self._local else (OPERATORS,))} - set(context.groups)
        if missing:
            raise Forbidden(f"{context.principal} is not in {', '.join(sorted(missing))}: ask the operator")
        count, digest = self._checked(command.files, context.tenant), digest_of(command.files)
        stream = StreamName(context.tenant, POLICY, digest)
        event = PoliciesProposed(digest=digest, files=command.files, by=context.principal)
        for _ in range(_TRIES):
            recorded = await self._store.read(stream)
            drafts = self._actions.drafts(context, stream, event)
            try:
                appended = await self._store.append(stream, drafts, expected_version=len(recorded))
            except WrongExpectedVersion:
                continue
            context.position = appended.position
            return Proposed(digest=digest, policies=count, position=appended.position)
        raise Invalid("others are proposing the same set; try again")

    async def approvals(self, command: ListApprovals, context: Context) -> Approvals:
        """What waits for people, in the caller's tenant, as far as it is any of the caller's business.

        However much there is, the answer comes in half of the caller's time and fits into one message.
        """
        await context.read_your_writes()
        pending, half_s = command.status == "pending", context.left_s / 2

        def wanted(view: ApprovalView) -> bool:
            return (view.status == "pending" or not pending) and self._concerns(view, context)

        found = await self._asked.newest(
            context.tenant,
            wanted,
            now_ms=self._now_ms(),
            begins=command.action,
            waiting=pending,
            most=command.most,
            in_time=lambda: context.left_s > half_s,
        )
        shown = page(found.views, command.most)
        return Approvals(approvals=shown, more=found.left + len(found.views) - len(shown))

    def _concerns(self, view: ApprovalView, context: Context) -> bool:
        """Who is asked sees it, who it is for, who answers for the agent, and who may read the log anyway."""
        agent = self._standing.find(view.tenant, view.agent)
        groups = {DEVELOPERS, AUDITORS, *(ask.group for ask in view.asks)}
        return bool(groups & set(context.groups)) or context.principal in (view.user, agent.sponsor if agent else None)

    async def approve(self, command: Approve, context: Context) -> Answered:
        """A person's answer to exactly this action; a refused one is counted."""
        try:
            return await self._approve(command, context)
        except (Conflict, Forbidden, Invalid, Unauthenticated) as problem:
            await self._refusals.count(context, command.action, problem)
            raise

    async def _approve(self, command: Approve, context: Context) -> Answered:
        await context.read_your_writes()
        approver = self._approver(command, context)
        entry = await self._asked.find(context.tenant, command.action)
        if entry is None:
            raise Invalid(f"nothing waits under {command.action!r}; `dominie approvals list` shows what does")
        stream = StreamName(context.tenant, APPROVAL, command.action)
        person = await self._person(context.tenant, entry.view.user) if entry.view.user else None
        for _ in range(_TRIES):
            recorded = await self._store.read(stream)
            state, now_ms = State(answers=tuple(map(_answered, recorded))), self._now_ms()
            life_ms = self._approval_s * 1000
            events = answer(state, command, self._waiting(entry), approver, now_ms=now_ms, life_ms=life_ms)
            for event in events:
                state = evolve(state, event)
            drafts = self._actions.drafts(context, stream, *events, person=person)
            drafts = [draft._replace(on_behalf_of=entry.view.user or None) for draft in drafts]
            try:
                if drafts:
                    appended = await self._store.append(stream, drafts, expected_version=len(recorded))
                    context.position = appended.position
            except WrongExpectedVersion:
                continue
            return Answered(left=left(state, entry.parked, now_ms=now_ms))
        raise Unavailable("others are answering too; try again", retry_after_s=0.1)

    def _approver(self, command: Approve, context: Context) -> Approver:
        registered = self._standing.find(context.tenant, context.principal)
        if registered is None:
            raise Forbidden(f"{context.principal} is not registered")
        if command.proof is None:
            raise Unauthenticated("an answer is signed with the approver's own key; `dominie approvals` does")
        claims, nkey = signed_answer(registered, command.proof, self._now_ms() / 1000)
        return Approver(context.principal, registered.groups, nkey, claims, registered.login)

    def _checked(self, files: tuple[PolicyFile, ...], tenant: str, beside: tuple[PolicyFile, ...] = ()) -> int:
        try:
            check_policies((*beside, *files), self._shapes.of(tenant))
            return check_policies(files, self._shapes.of(tenant))
        except PolicyError as error:
            raise Invalid("; ".join(error.problems), problems=list(error.problems)) from error

    async def _beside(self, tenant: str) -> tuple[PolicyFile, ...]:
        """What is in force for a tenant beside its own set: ids are taken once."""
        if tenant == PLATFORM:
            return ()
        recorded = await self._store.read(StreamName(PLATFORM, POLICY, POLICY_SET))
        return _published(recorded[-1]).files if recorded else ()

    def _waiting(self, entry: Entry) -> Waiting:
        view = entry.view
        own = view.category == WIDENING
        asker = asker_of(self._standing, view.tenant, view.user, entry.chain, user_answers=own)
        return Waiting(entry.parked, asker, view.tenant, view.category, over=entry.used or entry.ended)


def _published(event: Recorded) -> PoliciesPublished:
    payload = parse_own(event)
    assert isinstance(payload, PoliciesPublished)
    return payload


def _answered(event: Recorded) -> ApprovalAnswered:
    payload = parse_own(event)
    assert isinstance(payload, ApprovalAnswered)
    return payload
