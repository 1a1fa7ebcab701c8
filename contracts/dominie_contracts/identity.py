"""Commands and events of identity.

Category `principal`, one stream a principal; `run`, one stream a run; `widening`, one stream an action that asks for
more than its run was let.
"""

import math
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field, NonNegativeFloat

from dominie_contracts.action import TRAIL, Matter, Noted, noted_in
from dominie_contracts.base import Command, Json, Message, Payload
from dominie_contracts.people import ID_TOKEN, MAX_SUBJECT_CHARS, Login
from dominie_contracts.personal import PERSONAL
from dominie_contracts.plans import Plan
from dominie_contracts.token import Ceiling, Fork, Grants

PRINCIPAL, RUN, REFUSALS = "principal", "run", "identity"
WIDENING = "widening"
"""The category of actions that ask for more than a run may do."""
IDENTITY = "identity"
"""The principal of the platform whose stream says which keys the deployment has."""
KeyUse = Literal["signer", "callout", "service", "operator", "callout-user", "warden"]
"""What a key is for: run tokens; the broker's user tokens; the connections of a service, of the operator, of identity
where the broker asks it who somebody is, and of identity where it sees who is connected."""


class Register(Command):
    """Register a principal, or give a registered one new grants. For the operator and for developers."""

    NAME: ClassVar[str] = "identity.register"
    principal: str
    nkey: str
    """The public key (an nkey of a user, `U…`)."""
    tenant: str | None = None
    """The operator names the tenant; everybody else's is their own."""
    sponsor: str | None = None
    """The person who answers for it; a developer's registrations are the developer's."""
    grants: Grants = Grants()
    users: tuple[str, ...] = ()
    """The people who let it act for them."""
    groups: tuple[str, ...] = ()
    """A person's groups."""


class Rotate(Command):
    """Give an agent or a tool worker another key; the one before is taken for a while longer."""

    NAME: ClassVar[str] = "identity.rotate"
    principal: str
    nkey: str
    """The new public key."""
    tenant: str | None = None
    overlap_s: int = Field(default=600, ge=0, le=30 * 86400)


class KeyEntry(Message):
    """One of the deployment's public keys, and from when until when it is taken."""

    use: KeyUse
    name: str
    """Whose it is: `identity`, `tool/edge`."""
    nkey: str
    kid: str
    """The thumbprint of the JWK (RFC 7638)."""
    from_s: int
    """Unix time from when it signs; it is taken before."""
    until_s: int | None = None
    """Unix time until when it is taken; None: until another takes its place."""


class Replacement(Message):
    """A key that takes the place of another one."""

    use: KeyUse
    name: str = Field(min_length=1, max_length=100)
    nkey: str
    previous: str


class RotateKeys(Command):
    """From the operator: these keys take the place of others, which are taken for a while longer."""

    NAME: ClassVar[str] = "identity.rotate_keys"
    keys: tuple[Replacement, ...] = Field(min_length=1, max_length=100)
    overlap_s: int = Field(default=600, ge=0, le=30 * 86400)


class Keys(Message):
    """Reply to `RotateKeys`: those that are taken, and will be."""

    keys: tuple[KeyEntry, ...]


class Revoke(Command):
    """Take a principal's identity away, for good."""

    NAME: ClassVar[str] = "identity.revoke"
    principal: str
    tenant: str | None = None
    reason: str = ""


class Suspend(Command):
    """Stop a principal until it is resumed: its connections end, and nothing hears it."""

    NAME: ClassVar[str] = "identity.suspend"
    principal: str
    tenant: str | None = None
    reason: str = ""


class Resume(Command):
    """Lift a suspension."""

    NAME: ClassVar[str] = "identity.resume"
    principal: str
    tenant: str | None = None


class RefusalCount(Message):
    """How often one kind of thing was refused: `tool: forbidden`, `publish tool.invoke`, `connect: revoked`."""

    what: str = Field(max_length=100)
    count: int = Field(ge=1)


class Refusals(Message):
    """What was refused to one principal; to nobody that is registered where it has no name."""

    tenant: str
    principal: str
    counts: tuple[RefusalCount, ...] = Field(max_length=100)


class ReportRefusals(Command):
    """From every service: what its edge refused since it last said so."""

    NAME: ClassVar[str] = "identity.refusals"
    refusals: tuple[Refusals, ...] = Field(max_length=1000)


class PrincipalView(Message):
    """A principal as identity knows it."""

    tenant: str
    principal: str
    nkey: str
    sponsor: str | None
    grants: Grants
    users: tuple[str, ...]
    groups: tuple[str, ...]
    revoked: bool
    suspended: str | None = None
    """Why it is, by whom; None where it is not."""


class ListPrincipals(Command):
    """The principals of the caller's tenant."""

    NAME: ClassVar[str] = "identity.list"


class Principals(Message):
    """Reply to `ListPrincipals`."""

    principals: tuple[PrincipalView, ...]


class MintRunToken(Command):
    """A run token: the calling agent acting for a user."""

    NAME: ClassVar[str] = "identity.token"
    user: str
    """`u-NAME`; one who let the agent act for them (or, in local development, anybody)."""
    run: str = Field(min_length=1, max_length=100)
    session: str | None = Field(default=None, max_length=200)
    request_digest: str | None = None
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


class IssueApiKey(Command):
    """An opaque, revocable key for HTTP clients that stands for an agent."""

    NAME: ClassVar[str] = "identity.key"
    principal: str
    user: str


class ApiKey(Message):
    """Reply to `IssueApiKey`; shown once, only its digest is stored."""

    key: str
    id: str


class RevokeApiKey(Command):
    """Take an API key away."""

    NAME: ClassVar[str] = "identity.revoke_key"
    principal: str
    id: str


class ExchangeApiKey(Command):
    """From the gateway: a run token for the agent that an API key stands for."""

    NAME: ClassVar[str] = "identity.exchange"
    key: str
    run: str
    session: str | None = None


class SignIn(Command):
    """From the gateway: an ID token of a person, and the key that is to be theirs for a while."""

    NAME: ClassVar[str] = "identity.sign_in"
    issuer: str = Field(min_length=1, max_length=100)
    subject_token: str = Field(min_length=1, max_length=MAX_SUBJECT_CHARS)
    subject_token_type: Literal["urn:ietf:params:oauth:token-type:id_token"] = ID_TOKEN
    nkey: str
    proof: str = Field(min_length=1, max_length=2048)
    """`SignInClaims`, signed with that key."""


class Vouch(Command):
    """From the gateway: whom an ID token is about that was got in a browser, for this nonce. Nothing is written."""

    NAME: ClassVar[str] = "identity.vouch"
    issuer: str = Field(min_length=1, max_length=100)
    subject_token: str = Field(min_length=1, max_length=MAX_SUBJECT_CHARS)
    nonce: str = Field(min_length=22, max_length=200)


class ListIssuers(Command):
    """From the gateway: where people can sign in."""

    NAME: ClassVar[str] = "identity.issuers"


class Erase(Command):
    """From audit: destroy the keys of a person, so that nothing that was written for them can be read any more."""

    NAME: ClassVar[str] = "identity.erase"
    tenant: str
    principal: str
    by: str
    """Who asked audit for it."""


class Forgotten(Message):
    """Reply to `Erase`."""

    keys: tuple[str, ...]
    """The ids of the keys that were destroyed."""
    position: int
    """Of the event that says so, also where it was written before."""


class AskSubjectKeys(Command):
    """From every service that seals or opens: the key of a person, made on first use, and keys by their ids."""

    NAME: ClassVar[str] = "identity.subject_keys"
    tenant: str
    subject: str | None = None
    ids: tuple[str, ...] = Field(default=(), max_length=1000)


class SubjectKey(Message):
    """What one person's personal data are sealed under."""

    id: str
    subject: str
    secret: str
    """256 bits in base64."""


class SubjectKeys(Message):
    """Reply to `AskSubjectKeys`; an id that is not among them stands for nothing any more."""

    keys: tuple[SubjectKey, ...]


class Done(Message):
    """Reply to a command that has nothing to tell."""


class Registered(Payload):
    """Written by identity when a principal is registered or its registration changes."""

    KIND: ClassVar[str] = "registered.v1"
    tenant: str
    principal: str
    nkey: str
    sponsor: str | None
    grants: Grants
    users: tuple[str, ...]
    groups: tuple[str, ...]
    by: str
    previous: str | None = None
    """The key before this one, where it was rotated."""
    previous_until_s: int = 0
    """Unix time until when that is taken too."""
    login: Login | None = None
    """Of a person whom an issuer vouched for."""

    def takes(self, nkey: str, now_s: float) -> bool:
        """Whether this is the principal's key, or was until not long ago."""
        return now_s < self.ends_s(nkey)

    def ends_s(self, nkey: str) -> float:
        """Until when (Unix time) a key is the principal's; 0 where it is not."""
        if nkey == self.nkey:
            return math.inf if self.login is None else self.login.until_s
        return self.previous_until_s if nkey == self.previous else 0.0


class Revoked(Payload):
    """Written by identity when a principal is revoked."""

    KIND: ClassVar[str] = "revoked.v1"
    tenant: str
    principal: str
    by: str
    reason: str
    """Written as it is: name nobody in it."""


class Suspended(Payload):
    """Written by identity when a principal is suspended: by a person, or by its warden when it floods."""

    KIND: ClassVar[str] = "suspended.v1"
    tenant: str
    principal: str
    by: str
    reason: str
    """Written as it is: name nobody in it."""

    @property
    def words(self) -> str:
        """Who is suspended, why, and what to do about it."""
        why = f": {self.reason}" if self.reason else ""
        return f"{self.principal} is suspended by {self.by}{why}; `dominie agent resume {self.principal}` lifts it"


class Resumed(Payload):
    """Written by identity when a suspension is lifted."""

    KIND: ClassVar[str] = "resumed.v1"
    tenant: str
    principal: str
    by: str


class Refused(Payload):
    """Written by identity for what was refused to a principal in a window of time, however often it was.

    What connects, publishes or asks under no name that is registered is together one principal, `nobody`, of no tenant.
    """

    KIND: ClassVar[str] = "refused.v1"
    tenant: str
    principal: str
    counts: tuple[RefusalCount, ...]
    """Most often first."""
    from_ms: int
    to_ms: int


class KeyIssued(Payload):
    """Written by identity when it issues an API key."""

    KIND: ClassVar[str] = "key_issued.v1"
    tenant: str
    principal: str
    id: str
    digest: str
    """SHA-256 of the key."""
    user: str
    by: str


class KeyRevoked(Payload):
    """Written by identity when an API key is revoked."""

    KIND: ClassVar[str] = "key_revoked.v1"
    tenant: str
    principal: str
    id: str
    by: str


class Erased(Payload):
    """Written by identity before it destroys a person's keys; who holds a copy drops it on reading this.

    From here on there is no key under the person's name, until they are registered anew.
    """

    KIND: ClassVar[str] = "erased.v1"
    tenant: str
    principal: str
    keys: tuple[str, ...]
    """The ids of the keys."""
    by: str


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


class KeysChanged(Payload):
    """Written by identity when a key of the deployment is rotated: all that are taken now."""

    KIND: ClassVar[str] = "keys.v1"
    keys: tuple[KeyEntry, ...]
    by: str
    replaced: tuple[Replacement, ...] = ()
    """Which took the place of which; empty in events of before this was written."""


class RunEnded(Payload):
    """Written by identity, in the agent's stream, when a run is ended: every edge hears of it at once."""

    KIND: ClassVar[str] = "run_ended.v1"
    tenant: str
    principal: str
    run: str
    by: str
    reason: str
    """Written as it is: name nobody in it."""


Basis = Literal["service", "delegation", "registration", "subject-token", "exchange", "asserted"]
"""Why an agent acts for a user: they are its own; a stored delegation; its registration names them; their own token;
on behalf of another run; or, in local development, because it says so."""


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


COMMANDS: tuple[type[Command], ...] = (
    AskSubjectKeys,
    Delegate,
    EndDelegation,
    EndRun,
    Erase,
    ExchangeApiKey,
    ExchangeRun,
    ForkRun,
    IssueApiKey,
    ListDelegations,
    ListIssuers,
    ListPrincipals,
    MintRunToken,
    Register,
    ReportRefusals,
    Resume,
    Revoke,
    RevokeApiKey,
    Rotate,
    RotateKeys,
    SignIn,
    Suspend,
    Vouch,
    WidenRun,
)
EVENTS: dict[str, tuple[type[Payload], ...]] = {
    PRINCIPAL: (
        *(Registered, Revoked, Suspended, Resumed, KeyIssued, KeyRevoked, Erased),
        *(Delegated, DelegationEnded, RunEnded, KeysChanged),
    ),
    RUN: (RunOpened, RunRenewed, RunGranted, RunWidened),
    WIDENING: TRAIL,
    **{noted_in(WIDENING, matter): (Noted,) for matter in get_args(Matter)},
    REFUSALS: (Refused,),
}
