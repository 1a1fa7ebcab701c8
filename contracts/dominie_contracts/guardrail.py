"""Commands and events of guardrail. Category `policy`, one stream; `approval`, one stream an asked action."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from dominie_contracts.action import Ask, Integrity
from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.personal import PERSONAL

POLICY, APPROVAL = "policy", "approval"
POLICY_SET = "main"
"""The id of the policy stream of a tenant, or of the platform's, which holds for all."""


class PolicyFile(Message):
    """One file of Cedar policies."""

    name: str
    text: str


class PolicyDiff(Message):
    """Which policies, by their ids, one set has and another has not, or has otherwise."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class PublishPolicies(Command):
    """Validate a policy set and make it the one in force. For the operator."""

    NAME: ClassVar[str] = "guardrail.publish"
    files: tuple[PolicyFile, ...]
    tenant: str | None = None
    """Whose: they hold beside everybody's. None: everybody's."""
    author: str = Field(default="", max_length=200)
    """Who wrote them, as the operator says."""


class ProposePolicies(Command):
    """Validate a policy set and keep it for forked runs, without putting it in force.

    For developers whom the operator lets.
    """

    NAME: ClassVar[str] = "guardrail.propose"
    files: tuple[PolicyFile, ...]


class PoliciesProposed(Payload):
    """Written by guardrail when a set is proposed, in the proposer's tenant; decision points keep the latest."""

    KIND: ClassVar[str] = "proposed.v1"
    digest: str
    files: tuple[PolicyFile, ...]
    by: str


class Proposed(Message):
    """Reply to `ProposePolicies`."""

    digest: str
    policies: int
    position: int


class PoliciesPublished(Payload):
    """Written by guardrail when a policy set comes into force; decision points follow it."""

    KIND: ClassVar[str] = "published.v1"
    digest: str
    files: tuple[PolicyFile, ...]
    by: str
    author: str = ""
    replaces: str | None = None
    """The digest of the set before it."""
    diff: PolicyDiff = PolicyDiff()


class Published(Message):
    """Reply to `PublishPolicies`."""

    digest: str
    policies: int
    changed: bool
    position: int = 0
    """Of the event that put them in force: who has read so far decides by them."""
    diff: PolicyDiff = PolicyDiff()


class ApprovalView(Message):
    """An action that waits, or waited, for a person."""

    action: str
    """The id of the action's stream."""
    tenant: str
    category: str
    agent: str
    user: str
    run: str | None
    command: str
    resource: str | None
    arguments: dict[str, JsonValue]
    labels: dict[str, Integrity]
    asks: tuple[Ask, ...]
    digest: str
    status: Literal["pending", "granted", "denied", "expired", "used"]
    expires_ms: int
    by: str | None = None
    note: str = ""


class ListApprovals(Command):
    """The approvals of the caller's tenant that the caller could answer, or has to know of."""

    NAME: ClassVar[str] = "guardrail.approvals"
    status: Literal["pending", "all"] = "pending"


class Approvals(Message):
    """Reply to `ListApprovals`."""

    approvals: tuple[ApprovalView, ...]


class Approve(Command):
    """Say yes or no to exactly this action, with exactly these arguments."""

    NAME: ClassVar[str] = "guardrail.approve"
    action: str
    digest: str
    decision: Literal["grant", "deny"]
    note: str = ""


class ApprovalAnswered(Payload):
    """Written by guardrail when an approver has answered; the first answer stands."""

    KIND: ClassVar[str] = "answered.v1"
    action: str
    category: str
    digest: str
    decision: Literal["grant", "deny"]
    by: str
    groups: tuple[str, ...]
    """The approver's groups when answering."""
    expires_ms: int
    note: Annotated[str, PERSONAL]


COMMANDS: tuple[type[Command], ...] = (Approve, ListApprovals, ProposePolicies, PublishPolicies)
EVENTS: dict[str, tuple[type[Payload], ...]] = {
    POLICY: (PoliciesPublished, PoliciesProposed),
    APPROVAL: (ApprovalAnswered,),
}
