"""Policy sets and approvals: what may be published, who may answer. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from dominie_contracts import Conflict, Forbidden, Unauthenticated
from dominie_contracts.action import Ask, Parked, whom
from dominie_contracts.approvals import (
    AnswerClaims,
    Asker,
    counts,
    groups_of,
    holds,
    refuse_claims,
    refuse_person,
    unanswered,
)
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import (
    ApprovalAnswered,
    Approve,
    PoliciesPublished,
    PolicyDiff,
    PolicyFile,
    PublishPolicies,
)
from dominie_contracts.people import Login

NOTHING_NEW = PolicyDiff()


@dataclass(frozen=True, slots=True)
class Waiting:
    """An action that waits for people, and on whose side it is."""

    parked: Parked
    asker: Asker
    tenant: str
    category: str
    over: bool = False
    """It has ended, or somebody has gone on with it."""


@dataclass(frozen=True, slots=True)
class Approver:
    """A person who answers: what they are registered with, and what they signed."""

    principal: str
    groups: tuple[str, ...]
    nkey: str
    claims: AnswerClaims
    login: Login | None = None
    """Where an issuer vouched for them."""


@dataclass(frozen=True, slots=True)
class State:
    """The policy set in force, and the answers to one action."""

    in_force: PoliciesPublished | None = None
    answers: tuple[ApprovalAnswered, ...] = ()


def digest_of(files: tuple[PolicyFile, ...]) -> str:
    """The digest of a policy set: its files by name."""
    return digest_json({file.name: file.text for file in files})


def publish(
    state: State, command: PublishPolicies, *, by: str, diff: PolicyDiff = NOTHING_NEW
) -> list[PoliciesPublished]:
    """A set that is in force already is not published again; `diff` is beside the one that is."""
    digest, before = digest_of(command.files), state.in_force
    if before is not None and digest == before.digest:
        return []
    return [
        PoliciesPublished(
            digest=digest,
            files=command.files,
            by=by,
            author=command.author,
            replaces=before.digest if before else None,
            diff=diff,
        )
    ]


def answer(
    state: State, command: Approve, waiting: Waiting, approver: Approver, *, now_ms: int, life_ms: int
) -> list[ApprovalAnswered]:
    """A person's answer to the asks of their groups; the same again changes nothing.

    Raises:
        Forbidden: This person may not answer.
        Unauthenticated: They did not sign this, or signed in too long ago.
        Conflict: It was answered already, has expired, or was shown with other arguments or asks.
    """
    parked = waiting.parked
    if command.digest != parked.digest:
        raise Conflict("the action's arguments are not those you were shown; look at it again")
    if refused := refuse_person(waiting.asker, approver.principal, approver.nkey):
        raise Forbidden(f"you may not answer this: {refused}")
    said = _said(command, waiting, approver, now_ms=now_ms, life_ms=life_ms)
    if refused := refuse_claims(approver.claims, said, tenant=waiting.tenant, login=approver.login):
        raise Unauthenticated(f"{refused}: sign in and answer again")
    if any(_same(each, said, now_ms=now_ms) for each in state.answers):
        return []
    _check_open(state, said, waiting, now_ms=now_ms)
    return [said]


def _said(command: Approve, waiting: Waiting, approver: Approver, *, now_ms: int, life_ms: int) -> ApprovalAnswered:
    asks = waiting.parked.asks
    may = groups_of(waiting.asker, approver.principal, approver.groups)
    mine = [ask for ask in asks if ask.group in may]
    if not mine:
        groups = ", ".join(sorted({ask.group for ask in asks}))
        raise Forbidden(f"you may not answer this: {approver.principal!r} is not in {groups}")
    shown = tuple(ask.key for ask in mine if ask.key in approver.claims.asks)
    if not shown:
        raise Conflict("what asks is not what you were shown; look at it again")
    return ApprovalAnswered(
        action=command.action,
        category=waiting.category,
        digest=command.digest,
        decision=command.decision,
        by=approver.principal,
        groups=tuple(sorted({ask.group for ask in mine})),
        expires_ms=now_ms + life_ms,
        note=command.note,
        asks=shown,
        answered_ms=now_ms,
        nkey=approver.nkey,
        proof=command.proof or "",
    )


def _same(earlier: ApprovalAnswered, said: ApprovalAnswered, *, now_ms: int) -> bool:
    alike = (earlier.by, earlier.decision, earlier.digest) == (said.by, said.decision, said.digest)
    lapsed = said.decision == "grant" and now_ms > earlier.expires_ms
    return alike and not lapsed and set(said.asks) <= set(earlier.asks)


def left(state: State, parked: Parked, *, now_ms: int) -> tuple[Ask, ...]:
    """The asks that still want somebody's yes; none after a no."""
    if any(each.decision == "deny" for each in state.answers):
        return ()
    return unanswered(parked.asks, [each for each in state.answers if holds(each, parked.digest, now_ms=now_ms)])


def _check_open(state: State, said: ApprovalAnswered, waiting: Waiting, *, now_ms: int) -> None:
    parked = waiting.parked
    open_ = left(state, parked, now_ms=now_ms)
    if not open_:
        final = next((each for each in state.answers if each.decision == "deny"), state.answers[-1])
        raise Conflict(f"{final.by} has answered already: {final.decision}")
    if waiting.over:
        raise Conflict("it is over: the agent went on, or was refused")
    if now_ms > parked.expires_ms:
        raise Conflict("it has expired; the agent has to ask again")
    if said.decision == "grant" and not any(counts(said, ask) for ask in open_):
        raise Conflict(f"your groups have said yes; it waits for {', '.join(whom(open_))}")


def evolve(state: State, event: PoliciesPublished | ApprovalAnswered) -> State:
    """The state after one more event."""
    match event:
        case PoliciesPublished():
            return replace(state, in_force=event)
        case ApprovalAnswered():
            return replace(state, answers=(*state.answers, event))
        case _:
            assert_never(event)
