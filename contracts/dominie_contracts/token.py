"""Grants, and the run token: an agent acting for a user in one run (RFC 7519, RFC 8693's `act`, RFC 7800's `cnf`)."""

from functools import cached_property
from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeFloat, model_validator

from dominie_contracts.base import Message
from dominie_contracts.plans import Plan
from dominie_contracts.problems import Invalid
from dominie_contracts.spiffe import SpiffeId

AUDIENCE = "dominie"
"""`aud` of a run token."""
CONNECT_AUDIENCE = "dominie-connect"
"""`aud` of the assertion an agent connects with."""
SUBJECT_AUDIENCE = "dominie-subject"
"""`aud` of a subject token: a person lets an agent act for them in one run."""
MAX_RUN_TOKEN_S = 300
MAX_SUBJECT_TOKEN_S = 600
MAX_CHAIN = 8
"""Agents that act one through another."""
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
    """`act`: who acts, as a SPIFFE id; nested, the outermost is the current agent."""

    sub: str
    act: "Actor | None" = None

    @classmethod
    def of(cls, trust_domain: str, tenant: str, *agents: str) -> "Actor":
        """The chain of these agents of a tenant, the outermost first."""
        return cls.of_ids(tuple(str(SpiffeId.of(trust_domain, tenant, agent)) for agent in agents))

    @classmethod
    def of_ids(cls, ids: tuple[str, ...]) -> "Actor":
        """The chain of these SPIFFE ids, the outermost first."""
        return cls(sub=ids[0], act=cls.of_ids(ids[1:]) if len(ids) > 1 else None)

    @property
    def ids(self) -> tuple[str, ...]:
        """The SPIFFE ids, the outermost first."""
        return (self.sub, *(self.act.ids if self.act else ()))


class Confirmation(Message):
    """`cnf`: the agent's key, as a public nkey."""

    nkey: str


class Authorization(Message):
    """One `authorization_details` entry (RFC 9396) of type `dominie`."""

    type: Literal["dominie"] = "dominie"
    grants: Grants


class Ceiling(Message):
    """One `authorization_details` entry: what a run may spend, together with all that are run on its behalf."""

    type: Literal["dominie-ceiling"] = "dominie-ceiling"
    run: str
    max_cost_usd: NonNegativeFloat


RequestFrom = Literal["user", "agent"]
"""Who said what is asked in a run: the user, who signed its digest, or the agent alone. In local development the agent
is believed that it is the user's."""
Detail = Annotated[Authorization | Ceiling, Field(discriminator="type")]
"""An entry of another type is refused."""


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
    parents: tuple[str, ...] = ()
    """The runs that this one is part of, the first one first."""
    request_digest: str | None = None
    """SHA-256 of what the user asked for, where it was given."""
    request_from: RequestFrom | None = None
    """Only what is from the user is taken for the user's words."""
    plan_digest: str | None = None
    """SHA-256 of how the agent means to do it, where that was given."""
    plan_run: str | None = None
    """The run that was opened with that plan, where it is not this one: its parts follow it together."""
    authorization_details: tuple[Detail, ...]
    iat: int
    exp: int
    jti: str = Field(min_length=8)

    @model_validator(mode="after")
    def _of_one_tenant(self) -> "RunClaims":
        try:
            chain = [SpiffeId.parse(id_) for id_ in self.act.ids]
        except Invalid as error:
            raise ValueError(error.detail) from error
        if len(chain) > MAX_CHAIN or {(each.trust_domain, each.tenant) for each in chain} != {
            (chain[0].trust_domain, self.tenant)
        }:
            raise ValueError("the agents that act are not of one tenant, or too many")
        if sum(isinstance(detail, Authorization) for detail in self.authorization_details) > 1:
            raise ValueError("grants are in one entry")
        return self

    @cached_property
    def actors(self) -> tuple[str, ...]:
        """The principals that act, the current agent first."""
        return tuple(SpiffeId.parse(id_).principal for id_ in self.act.ids)

    @cached_property
    def chain(self) -> str:
        """The same, parted by spaces: the actor of an event."""
        return " ".join(self.actors)

    @property
    def agent(self) -> str:
        """The principal that acts now."""
        return self.actors[0]

    @cached_property
    def grants(self) -> Grants:
        """What the token grants; a token with none grants nothing."""
        found = (detail.grants for detail in self.authorization_details if isinstance(detail, Authorization))
        return next(found, Grants())

    @property
    def ceilings(self) -> tuple[Ceiling, ...]:
        """What this run, and those that it is part of, may spend."""
        return tuple(detail for detail in self.authorization_details if isinstance(detail, Ceiling))


class MayAct(Message):
    """`may_act` (RFC 8693): the agent that a subject token is for."""

    sub: str


class SubjectClaims(Message):
    """The claims of a subject token, signed with a person's own key: this agent, this run, no more than this."""

    sub: str
    """The user, `u-NAME`."""
    tenant: str
    aud: str
    may_act: MayAct
    run: str = Field(min_length=1, max_length=100)
    until_s: int
    """Unix time until when the agent gets run tokens for the run."""
    authorization_details: tuple[Detail, ...]
    request_digest: str | None = None
    plan: Plan | None = None
    """What the run is held to."""
    iat: int
    exp: int
    jti: str = Field(min_length=8, max_length=100)
