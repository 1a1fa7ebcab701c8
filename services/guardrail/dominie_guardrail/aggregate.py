"""Policy sets and approvals: what may be published, who may answer. Pure."""

from dataclasses import dataclass, replace
from typing import assert_never

from dominie_contracts import Conflict, Forbidden
from dominie_contracts.action import Parked
from dominie_contracts.approvals import refuse_approver
from dominie_contracts.digests import digest_json
from dominie_contracts.guardrail import ApprovalAnswered, Approve, PoliciesPublished, PolicyFile, PublishPolicies


@dataclass(frozen=True, slots=True)
class Waiting:
    """An action that waits for a person, and on whose behalf it was asked."""

    parked: Parked
    user: str
    chain: str
    sponsor: str | None
    category: str


@dataclass(frozen=True, slots=True)
class Approver:
    """A person who answers."""

    principal: str
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class State:
    """The policy set in force, and the answer of one action where there is one."""

    digest: str | None = None
    answered: ApprovalAnswered | None = None


def digest_of(files: tuple[PolicyFile, ...]) -> str:
    """The digest of a policy set: its files by name."""
    return digest_json({file.name: file.text for file in files})


def publish(state: State, command: PublishPolicies, *, by: str) -> list[PoliciesPublished]:
    """A set that is in force already is not published again."""
    digest = digest_of(command.files)
    return [] if digest == state.digest else [PoliciesPublished(digest=digest, files=command.files, by=by)]


def answer(
    state: State, command: Approve, waiting: Waiting, approver: Approver, *, now_ms: int, life_ms: int
) -> list[ApprovalAnswered]:
    """The first answer stands; giving it again changes nothing.

    Raises:
        Forbidden: This person may not answer.
        Conflict: It was answered otherwise, has expired, or was shown with other arguments.
    """
    if command.digest != waiting.parked.digest:
        raise Conflict("the action's arguments are not those you were shown; look at it again")
    refused = refuse_approver(
        waiting.parked,
        by=approver.principal,
        groups=approver.groups,
        user=waiting.user,
        chain=waiting.chain,
        sponsor=waiting.sponsor,
    )
    if refused:
        raise Forbidden(f"you may not answer this: {refused}")
    if state.answered is not None:
        if (state.answered.by, state.answered.decision) == (approver.principal, command.decision):
            return []
        raise Conflict(f"{state.answered.by} has answered already: {state.answered.decision}")
    if now_ms > waiting.parked.expires_ms:
        raise Conflict("it has expired; the agent has to ask again")
    return [
        ApprovalAnswered(
            action=command.action,
            category=waiting.category,
            digest=command.digest,
            decision=command.decision,
            by=approver.principal,
            groups=approver.groups,
            expires_ms=now_ms + life_ms,
            note=command.note,
        )
    ]


def evolve(state: State, event: PoliciesPublished | ApprovalAnswered) -> State:
    """The state after one more event."""
    match event:
        case PoliciesPublished():
            return replace(state, digest=event.digest)
        case ApprovalAnswered():
            return replace(state, answered=event)
        case _:
            assert_never(event)
