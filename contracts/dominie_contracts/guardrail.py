"""Commands and events of guardrail. Category `policy`, one stream; `approval`, one stream an asked action; category
`limit`, one stream a month."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, JsonValue

from dominie_contracts.action import Ask
from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.personal import PERSONAL
from dominie_contracts.provenance import Integrity

POLICY, APPROVAL, LIMIT = "policy", "approval", "limit"
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


class Answer(Message):
    """What one person said."""

    by: str
    decision: Literal["grant", "deny"]
    policies: tuple[str, ...]
    """Whose asks it answers."""
    note: str = ""
    expires_ms: int


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
    """Those that had no yes when it was asked."""
    left: tuple[Ask, ...] = ()
    """Those that still want somebody's yes."""
    digest: str
    status: Literal["pending", "granted", "denied", "expired", "used"]
    expires_ms: int
    by: str | None = None
    """Who said no, or the first who said yes."""
    note: str = ""
    answers: tuple[Answer, ...] = ()
    whole: bool = True
    """False: its arguments and labels are too large for a list; ask for it by its id, and nobody answers it unseen."""


class ListApprovals(Command):
    """The approvals of the caller's tenant that the caller could answer, or has to know of."""

    NAME: ClassVar[str] = "guardrail.approvals"
    status: Literal["pending", "all"] = "pending"
    action: str = Field(default="", max_length=200)
    """Only those whose id begins so; where that is one, it comes whole."""
    most: int = Field(default=200, ge=1, le=1000)
    """At most so many: the newest."""


class Approvals(Message):
    """Reply to `ListApprovals`; oldest first."""

    approvals: tuple[ApprovalView, ...]
    more: int = 0
    """At most so many others: they did not fit, or there was no time to look at them."""


class Approve(Command):
    """Say yes or no to exactly this action, with exactly these arguments."""

    NAME: ClassVar[str] = "guardrail.approve"
    action: str
    digest: str
    decision: Literal["grant", "deny"]
    note: str = Field(default="", max_length=2000)
    proof: str | None = Field(default=None, max_length=8192)
    """The same, signed with the approver's own key (`approvals.AnswerClaims`); without it nothing is answered."""


class Answered(Message):
    """Reply to `Approve`."""

    left: tuple[Ask, ...]
    """The asks that still want somebody's yes; none after a no."""


class ApprovalAnswered(Payload):
    """Written by guardrail when an approver has answered; a no ends it, and so does a yes to the last ask."""

    KIND: ClassVar[str] = "answered.v1"
    action: str
    category: str
    digest: str
    decision: Literal["grant", "deny"]
    by: str
    groups: tuple[str, ...]
    """The groups that were asked and that the approver was in."""
    expires_ms: int
    note: Annotated[str, PERSONAL]
    asks: tuple[str, ...] = ()
    """The keys of the asks that it answers."""
    answered_ms: int = 0
    nkey: str = ""
    """The approver's key."""
    proof: str = ""
    """What the approver signed with it: whoever acts on the answer checks that, too."""


class Share(Message):
    """What one action wants of a limit."""

    policy: str
    scope: str
    """Whose limit: `agent a-desk`, `tenant`, and of a user a digest under their key, which names nobody without it."""
    within: Literal["hour", "day", "month"]
    amount: int = Field(ge=0, le=2**53 - 1)
    most: int = Field(ge=0, le=2**53 - 1)


class Reserve(Command):
    """From a service, before an action begins: a share of each of these limits, or of none."""

    NAME: ClassVar[str] = "guardrail.reserve"
    action: str = Field(pattern="^[0-9a-f]{32}$")
    category: str
    shares: tuple[Share, ...] = Field(min_length=1, max_length=32)


class Reservation(Message):
    """Reply to `Reserve`."""

    granted: bool
    policy: str = ""
    """Whose limit is used up."""
    used: int = 0
    """So much of it, by others."""
    resets_s: int = 0
    """Until it begins anew."""


class ListLimits(Command):
    """The limits in force that calls share, and what of them is used now.

    Developers and auditors see all of their tenant; other people their own; an agent its own, and with a run token its
    user's.
    """

    NAME: ClassVar[str] = "guardrail.limits"
    policy: str | None = None
    """One policy's alone."""
    most: int = Field(default=200, ge=1, le=1000)
    """At most so many entries: those of which least is left."""


class LimitUse(Message):
    """What of one limit is used, by one agent, user or the tenant, in the window that is now."""

    policy: str
    counts: Literal["amount", "calls"]
    most: int
    per: Literal["agent", "user", "tenant"]
    within: Literal["hour", "day", "month"]
    why: str
    whom: str = ""
    """Whose; empty while nobody has used any."""
    window: str
    used: int = 0
    """By calls that are over."""
    reserved: int = 0
    """By calls that are under way, or of which nobody has seen yet what became of them."""
    left: int
    resets_s: int


class Limits(Message):
    """Reply to `ListLimits`."""

    limits: tuple[LimitUse, ...]
    more: int = 0
    """Entries that were left off."""


class Booked(Message):
    """A share of a limit that is taken."""

    policy: str
    scope: str
    window: str
    """The hour, day or month: `2026-11-21T12`, `2026-11-21`, `2026-11`."""
    amount: int


class Booking(Message):
    """What one action has taken."""

    action: str
    category: str
    at_ms: int
    shares: tuple[Booked, ...]


class SharesReserved(Payload):
    """Written by guardrail before it grants reservations: a page of them, for whoever asked meanwhile."""

    KIND: ClassVar[str] = "reserved.v1"
    bookings: tuple[Booking, ...]


class SharesSettled(Payload):
    """Written by guardrail when it has seen what became of actions that reserved."""

    KIND: ClassVar[str] = "settled.v1"
    kept: tuple[str, ...]
    """They were done, or nobody can tell: their shares are used."""
    released: tuple[str, ...]
    """They failed, or never began: their shares are free again."""


class AnswersRefused(Payload):
    """Written by guardrail when it refuses a person's answers: the first at once, then their number, once a minute."""

    KIND: ClassVar[str] = "refused.v1"
    by: str
    problems: dict[str, int]
    """How many, by the type of the problem."""
    actions: tuple[str, ...]
    """Some of what they were meant for, as they named it."""


COMMANDS: tuple[type[Command], ...] = (Approve, ListApprovals, ListLimits, ProposePolicies, PublishPolicies, Reserve)
EVENTS: dict[str, tuple[type[Payload], ...]] = {
    POLICY: (PoliciesPublished, PoliciesProposed),
    APPROVAL: (ApprovalAnswered, AnswersRefused),
    LIMIT: (SharesReserved, SharesSettled),
}
