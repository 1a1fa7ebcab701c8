"""Grants, and the run token: an agent acting for a user in one run (RFC 7519, RFC 8693's `act`, RFC 7800's `cnf`)."""

from typing import ClassVar, Literal

from pydantic import Field

from dominie_contracts.base import Message

AUDIENCE = "dominie"
"""`aud` of a run token."""
CONNECT_AUDIENCE = "dominie-connect"
"""`aud` of the assertion an agent connects with."""
MAX_RUN_TOKEN_S = 300
EVERYTHING = "*"
"""In a registration: whatever the tenant has when the rights are issued. Never on the broker."""


class Grants(Message):
    """What a principal may use, by name; `*` stands for all that the tenant has."""

    tools: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()

    def allow(self, kind: Literal["tools", "models", "namespaces"], name: str) -> bool:
        """Whether a name of that kind is granted."""
        names: tuple[str, ...] = getattr(self, kind)
        return name in names or EVERYTHING in names


class Actor(Message):
    """`act`: who acts; nested, the outermost is the current agent."""

    sub: str
    act: "Actor | None" = None

    @property
    def chain(self) -> str:
        """The principals, outermost first, parted by spaces."""
        return self.sub if self.act is None else f"{self.sub} {self.act.chain}"


class Confirmation(Message):
    """`cnf`: the agent's key, as a public nkey."""

    nkey: str


class Authorization(Message):
    """One `authorization_details` entry (RFC 9396) of type `dominie`."""

    type: Literal["dominie"] = "dominie"
    grants: Grants


class Fork(Message):
    """What a forked run has of its parent, and what it goes on under once that is used up."""

    run: str
    """The parent."""
    root: str | None = None
    """The first run of the line, whose id its program knows; identity fills it in."""
    at: int
    """A position in the log: what the parent had finished before it is served from the record."""
    policies: str | None = None
    """The digest of the proposed policy set that decides what goes on live; None: the one in force."""
    policies_at: int = 0
    """Where that set was proposed: who has read so far and does not hold it refuses."""
    model: str | None = None
    """The model that the agent's live calls go to, whichever they ask for."""


class RunClaims(Message):
    """The claims of a run token."""

    MAX_S: ClassVar[int] = MAX_RUN_TOKEN_S
    iss: str
    aud: str
    sub: str
    """The user, `u-NAME`."""
    act: Actor
    tenant: str
    run: str
    session: str | None = None
    cnf: Confirmation
    fork: Fork | None = None
    authorization_details: tuple[Authorization, ...]
    iat: int
    exp: int
    jti: str = Field(min_length=8)

    @property
    def agent(self) -> str:
        """The principal that acts now."""
        return self.act.sub

    @property
    def grants(self) -> Grants:
        """What the token grants; a token with none grants nothing."""
        return self.authorization_details[0].grants if self.authorization_details else Grants()
