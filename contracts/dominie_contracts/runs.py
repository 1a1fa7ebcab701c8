"""For whom an agent acts, in which run, with which rights: tokens, what people let agents do, what runs hand on."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat

from dominie_contracts.base import Command, Json, Message, Payload
from dominie_contracts.personal import PERSONAL
from dominie_contracts.plans import Plan
from dominie_contracts.token import Ceiling, Fork, Grants, RequestFrom

MAX_REQUEST_CHARS = 64_000
Basis = Literal["service", "delegation", "registration", "subject-token", "exchange", "asserted"]
"""Why an agent acts for a user: they are its own; a stored delegation; its registration names them; their own token;
on behalf of another run; or, in local development, because it says so."""


class MintRunToken(Command):
    """A run token: the calling agent acting for a user."""

    NAME: ClassVar[str] = "identity.token"
    user: str
    """`u-NAME`; one who let the agent act for them (or, in local development, anybody)."""
    run: str = Field(min_length=1, max_length=100)
    session: str | None = Field(default=None, max_length=200)
    request_digest: str | None = None
    request: str | None = Field(default=None, max_length=MAX_REQUEST_CHARS)
    """What the user asked, in their own words: if they signed for it, what stands there has the integrity `user` in
    this run (in local development the agent is believed)."""
    narrow: Grants | None = None
    """Less than the agent's own grants."""
    subject_token: str | None = Field(default=None, max_length=128 * 1024)
    """What the user signed for this run; it goes on without it for as long as that says."""
    plan_digest: str | None = Field(default=None, max_length=200)
    """Of the plan; a run that has none yet is not opened without the plan itself."""
    max_cost_usd: NonNegativeFloat | None = None
    """What the run may spend, with all that are run on its behalf; set when it begins."""
    plan: Plan | None = None
    """What the run, with all that are run on its behalf, is held to; set when it begins."""


class ExchangeRun(Command):
    """From an agent, with its run token: one for another agent that acts on its behalf, in a run of its own."""

    NAME: ClassVar[str] = "identity.exchange_run"
    agent: str
    """`a-NAME`; nobody else can use the token."""
    run: str = Field(min_length=1, max_length=100)
    """What the caller calls it; its id is in the reply."""
    session: str | None = Field(default=None, max_length=200)
    narrow: Grants | None = None
    """Less than the caller's; None: all of that."""
    max_cost_usd: NonNegativeFloat | None = None


class WidenRun(Command):
    """From an agent, with its run token: let this run do more, once a person has said yes to exactly that."""

    NAME: ClassVar[str] = "identity.widen"
    grants: Grants = Grants()
    """What is to be added, each by its name."""
    max_cost_usd: NonNegativeFloat | None = None
    """What the run may spend instead, with all that are run on its behalf."""
    reason: str = Field(max_length=1000)
    """Why, for whoever is asked."""


class EndRun(Command):
    """End a run, and those that are part of it, for good. For its user, and whoever answers for its agent."""

    NAME: ClassVar[str] = "identity.end_run"
    run: str = Field(min_length=1, max_length=100)
    reason: str = ""


class Delegate(Command):
    """From a person: let an agent act for them until a time, or with other bounds than before."""

    NAME: ClassVar[str] = "identity.delegate"
    agent: str
    grants: Grants = Grants()
    expires_s: int = Field(ge=0)
    """Unix time."""
    max_cost_usd: NonNegativeFloat | None = None
    """What each run may spend."""


class EndDelegation(Command):
    """From a person: an agent acts for them no more."""

    NAME: ClassVar[str] = "identity.end_delegation"
    agent: str


class ListDelegations(Command):
    """The agents that the caller lets act for them."""

    NAME: ClassVar[str] = "identity.delegations"


class Delegation(Message):
    """An agent that may act for a person."""

    agent: str
    grants: Grants
    expires_s: int
    max_cost_usd: float | None


class Delegations(Message):
    """Reply to `ListDelegations`, and to what changes them."""

    delegations: tuple[Delegation, ...]


class RunToken(Message):
    """Reply to `MintRunToken`, `ExchangeRun` and `ExchangeApiKey`."""

    token: str
    expires_s: int
    """Unix time."""
    run: str


class ForkRun(Command):
    """Open a run that begins as another one did. For a developer who answers for its agent."""

    NAME: ClassVar[str] = "identity.fork"
    fork: Fork


class Forked(Message):
    """Reply to `ForkRun`: the new run, which the parent's agent takes up for the parent's user."""

    run: str
    root: str
    """The first run of the line."""
    agent: str
    user: str


class Delegated(Payload):
    """Written by identity, in the person's stream, when they let an agent act for them."""

    KIND: ClassVar[str] = "delegated.v1"
    tenant: str
    principal: str
    agent: str
    grants: Grants
    expires_s: int
    max_cost_usd: float | None


class DelegationEnded(Payload):
    """Written by identity when an agent may act for a person no more."""

    KIND: ClassVar[str] = "delegation_ended.v1"
    tenant: str
    principal: str
    agent: str


class RunEnded(Payload):
    """Written by identity, in the agent's stream, when a run is ended: every edge hears of it at once."""

    KIND: ClassVar[str] = "run_ended.v1"
    tenant: str
    principal: str
    run: str
    by: str
    reason: str
    """Written as it is: name nobody in it."""


class RunOpened(Payload):
    """Written by identity at the first run token of a run, or when it is forked from another."""

    KIND: ClassVar[str] = "opened.v1"
    run: str
    agent: str
    user: str
    session: str | None
    request_digest: Annotated[str | None, PERSONAL]
    grants: Grants
    expires_s: int
    """When its first token expires; of a forked run, until when it gets tokens."""
    fork: Fork | None = None
    basis: Basis | None = None
    chain: tuple[str, ...] = ()
    """The SPIFFE ids of the agents that act, the current one first."""
    parents: tuple[str, ...] = ()
    """The runs that it is part of, the first one first."""
    limit: Grants | None = None
    """What it was narrowed to when it began; its tokens never grant more."""
    ceilings: tuple[Ceiling, ...] = ()
    plan_digest: Annotated[str | None, PERSONAL] = None
    plan: Annotated[dict[str, Json] | None, PERSONAL] = None
    """What it is held to, where it was opened with a plan (`plans.Plan`)."""
    plan_run: str | None = None
    """Whose plan it follows, where it is another run's."""
    request: Annotated[str | None, PERSONAL] = None
    """What the user asked; `request_digest` is its SHA-256."""
    request_from: RequestFrom | None = None
    """Who said that this is the request. Of runs that do not say it nobody knows: it is not taken for the user's."""


class RunGranted(Payload):
    """Written by identity when a user's own token is shown for a run: until then it gets tokens, and no others."""

    KIND: ClassVar[str] = "granted.v1"
    run: str
    agent: str
    user: str
    jti: str
    """The token's id; shown again, it changes nothing."""
    grants: Grants
    ceilings: tuple[Ceiling, ...]
    until_s: int


class RunWidened(Payload):
    """Written by identity when people have said yes to what a run asked for: its further tokens have that, too."""

    KIND: ClassVar[str] = "widened.v1"
    run: str
    agent: str
    user: str
    action: str
    """The asked action, which the yes was for; it widens the run once."""
    grants: Grants
    max_cost_usd: float | None = None
    by: tuple[str, ...] = ()
    """Who said yes."""


class RunRenewed(Payload):
    """Written by identity at each further run token of a run."""

    KIND: ClassVar[str] = "renewed.v1"
    run: str
    agent: str
    user: str
    expires_s: int
