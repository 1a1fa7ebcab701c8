"""Guardrail's commands: publish policies, list and answer approvals."""

from collections.abc import Awaitable, Callable
from pathlib import Path

from dominie_contracts import Forbidden, Invalid, Recorded, StreamName
from dominie_contracts.guardrail import (
    APPROVAL,
    POLICY,
    POLICY_SET,
    ApprovalAnswered,
    Approvals,
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
from dominie_contracts.identity import Done
from dominie_contracts.registry import parse_own
from dominie_contracts.rights import DEVELOPERS, OPERATORS
from dominie_contracts.subjects import PLATFORM
from dominie_eventstore import EventStore, WrongExpectedVersion
from dominie_guardrail.aggregate import Approver, State, Waiting, answer, digest_of, evolve, publish
from dominie_guardrail.projection import Asked, Entry
from dominie_kit import Actions, Context
from dominie_kit.decision import PolicyError, check_policies
from dominie_kit.sealing import PersonKey
from dominie_kit.standing import Standing

_TRIES = 5


class Handlers:
    """Answers `publish`, `propose`, `approvals` and `approve`."""

    def __init__(
        self,
        store: EventStore,
        actions: Actions,
        standing: Standing,
        asked: Asked,
        person: Callable[[str, str], Awaitable[PersonKey]],
        *,
        now_ms: Callable[[], int],
        approval_s: int,
        local: bool,
    ) -> None:
        self._store = store
        self._actions = actions
        self._standing = standing
        self._asked = asked
        self._person = person
        self._now_ms = now_ms
        self._approval_s = approval_s
        self._local = local

    async def publish(self, command: PublishPolicies, context: Context) -> Published:
        """Validate a set and make it the one in force; the last good one stays if it does not hold."""
        count = _checked(command.files)
        stream = StreamName(PLATFORM, POLICY, POLICY_SET)
        for _ in range(_TRIES):
            recorded = await self._store.read(stream)
            state = State()
            for event in recorded:
                payload = parse_own(event)
                assert isinstance(payload, PoliciesPublished)
                state = evolve(state, payload)
            events = publish(state, command, by=context.principal)
            if not events:
                return Published(digest=state.digest or "", policies=count, changed=False)
            drafts = self._actions.drafts(context, stream, *events)
            try:
                appended = await self._store.append(stream, drafts, expected_version=len(recorded))
            except WrongExpectedVersion:
                continue
            context.position = appended.position
            return Published(digest=events[-1].digest, policies=count, changed=True)
        raise Invalid("others are publishing too; look at what is in force and try again")

    async def propose(self, command: ProposePolicies, context: Context) -> Proposed:
        """Validate a set and keep it, in the proposer's tenant, for runs that are forked; nothing comes into force."""
        missing = {DEVELOPERS, *(() if self._local else (OPERATORS,))} - set(context.groups)
        if missing:
            raise Forbidden(f"{context.principal} is not in {', '.join(sorted(missing))}: ask the operator")
        count, digest = _checked(command.files), digest_of(command.files)
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
        """What waits for a person, in the caller's tenant."""
        await context.read_your_writes()
        views = await self._asked.all(context.tenant, now_ms=self._now_ms())
        wanted = [view for view in views if command.status == "all" or view.status == "pending"]
        return Approvals(approvals=tuple(wanted))

    async def approve(self, command: Approve, context: Context) -> Done:
        """A person's answer to exactly this action."""
        await context.read_your_writes()
        entry = await self._asked.find(context.tenant, command.action)
        if entry is None:
            raise Invalid(f"nothing waits under {command.action!r}; `dominie approvals list` shows what does")
        stream = StreamName(context.tenant, APPROVAL, command.action)
        person = await self._person(context.tenant, entry.view.user) if entry.view.user else None
        for _ in range(_TRIES):
            recorded = await self._store.read(stream)
            events = answer(
                State(answered=_answered(recorded[-1]) if recorded else None),
                command,
                self._waiting(entry),
                Approver(context.principal, context.groups),
                now_ms=self._now_ms(),
                life_ms=self._approval_s * 1000,
            )
            if not events:
                return Done()
            drafts = self._actions.drafts(context, stream, *events, person=person)
            drafts = [draft._replace(on_behalf_of=entry.view.user or None) for draft in drafts]
            try:
                appended = await self._store.append(stream, drafts, expected_version=len(recorded))
            except WrongExpectedVersion:
                continue
            context.position = appended.position
            return Done()
        raise Invalid("others are answering too; look at it again")

    def _waiting(self, entry: Entry) -> Waiting:
        agent = self._standing.find(entry.view.tenant, entry.view.agent)
        sponsor = agent.sponsor if agent else None
        return Waiting(entry.parked, entry.view.user, entry.chain, sponsor, entry.view.category)


def _checked(files: tuple[PolicyFile, ...]) -> int:
    try:
        return check_policies(files)
    except PolicyError as error:
        raise Invalid("; ".join(error.problems), problems=list(error.problems)) from error


def _answered(event: Recorded) -> ApprovalAnswered:
    payload = parse_own(event)
    assert isinstance(payload, ApprovalAnswered)
    return payload


def read_policies(folder: Path) -> tuple[PolicyFile, ...]:
    """The `*.cedar` files of a folder, by name.

    Raises:
        Invalid: The folder is not there, or holds none.
    """
    files = tuple(PolicyFile(name=path.name, text=path.read_text()) for path in sorted(folder.glob("*.cedar")))
    if not files:
        raise Invalid(f"{str(folder)!r} holds no *.cedar file")
    return files
