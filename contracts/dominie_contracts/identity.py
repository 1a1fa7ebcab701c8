"""Commands and events of identity.

Category `principal`, one stream a principal; `run`, one stream a run; `widening`, one stream an action that asks for
more than its run was let.
"""

import math
from typing import ClassVar, Literal, get_args

from pydantic import Field

from dominie_contracts.action import TRAIL, Matter, Noted, noted_in
from dominie_contracts.base import Command, Message, Payload
from dominie_contracts.keys import (
    AskSubjectKeys,
    ExchangeApiKey,
    IssueApiKey,
    KeyIssued,
    KeyRevoked,
    KeysChanged,
    RevokeApiKey,
    RotateKeys,
)
from dominie_contracts.people import ID_TOKEN, MAX_SUBJECT_CHARS, Login
from dominie_contracts.runs import (
    Delegate,
    Delegated,
    DelegationEnded,
    EndDelegation,
    EndRun,
    ExchangeRun,
    ForkRun,
    ListDelegations,
    MintRunToken,
    RunEnded,
    RunGranted,
    RunOpened,
    RunRenewed,
    RunWidened,
    WidenRun,
)
from dominie_contracts.token import Grants

PRINCIPAL, RUN, REFUSALS = "principal", "run", "identity"
WIDENING = "widening"
"""The category of actions that ask for more than a run may do."""
IDENTITY = "identity"
"""The principal of the platform whose stream says which keys the deployment has."""


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
