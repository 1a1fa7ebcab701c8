"""Whom a token that holds is about: a person with their groups, or the agent that a service account is. Pure."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from dominie_contracts import Forbidden, Invalid, Unauthenticated
from dominie_contracts.digests import digest_bytes
from dominie_contracts.people import digest_signed
from dominie_contracts.subjects import check_principal
from dominie_identity.people.issuers import Issuer
from dominie_identity.people.tokens import Claims

MAX_AGE_S = 600
"""An ID token is from a sign-in of just now."""
MAX_GROUPS = 1000
_ACCOUNT = "system:serviceaccount:"
_OF_ACCESS = ("scope", "scp", "events")
"""Claims of access tokens and of notices of a logout (RFC 9068, OpenID Connect Back-Channel Logout)."""


@dataclass(frozen=True, slots=True)
class Person:
    """A person for whom an issuer vouches."""

    tenant: str
    principal: str
    groups: tuple[str, ...]
    subject: str
    """SHA-256 of the issuer and its own name for them."""
    token: str
    """SHA-256 of the token."""
    auth_time: int
    expires_s: int
    """When the token ends (Unix time)."""
    nonce: str | None = None
    """What whoever asked the issuer for it had said, where it was asked in a browser."""


class _Account(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True)

    name: str


class _Bound(BaseModel):
    """The claim `kubernetes.io`."""

    model_config = ConfigDict(frozen=True, strict=True)

    namespace: str
    serviceaccount: _Account


def person(token: str, claims: Claims, issuer: Issuer, *, now_s: float, leeway_s: float) -> Person:
    """Who signed in.

    Raises:
        Unauthenticated: It is no ID token, or from long ago.
        Invalid: The issuer's name for them cannot be one here.
    """
    if any(claims.other(name) is not None for name in _OF_ACCESS):
        raise Unauthenticated("this is no ID token: it says what somebody may do, and not who they are")
    if claims.other("typ") not in (None, "ID", "JWT") or claims.other("token_use") not in (None, "id"):
        raise Unauthenticated("this is no ID token: it is of another kind")
    if not now_s - claims.iat <= MAX_AGE_S:
        raise Unauthenticated(f"the ID token is older than {MAX_AGE_S // 60} minutes; sign in again")
    auth_time = claims.iat if claims.auth_time is None else claims.auth_time
    if not auth_time - leeway_s <= claims.iat:
        raise Unauthenticated("the ID token is from before they signed in")
    return Person(
        tenant=issuer.tenant,
        principal=_principal(claims, issuer),
        groups=_groups(claims.other(issuer.groups_claim), issuer),
        subject=digest_bytes(f"{claims.iss}\0{claims.sub}".encode()),
        token=digest_signed(token),
        auth_time=int(auth_time),
        expires_s=int(claims.exp),
        nonce=claims.nonce,
    )


@dataclass(frozen=True, slots=True)
class Workload:
    """A pod for which a cluster vouches, and until when (Unix time)."""

    principal: str
    until_s: float


def workload(claims: Claims, issuer: Issuer) -> Workload:
    """The agent or tool worker that a pod is.

    Raises:
        Unauthenticated: It is no token that the cluster bound to a pod's service account.
        Forbidden: The configuration makes nobody of it.
    """
    account = claims.sub.removeprefix(_ACCOUNT)
    if account == claims.sub or not _is_bound(claims.other("kubernetes.io"), account):
        raise Unauthenticated("this is no token that a cluster bound to a service account")
    if account not in issuer.agents:
        raise Forbidden("no agent is configured for this service account")
    return Workload(issuer.agents[account], claims.exp)


def _is_bound(found: JsonValue, account: str) -> bool:
    try:
        bound = _Bound.model_validate(found)
    except ValidationError:
        return False
    return f"{bound.namespace}:{bound.serviceaccount.name}" == account


def _principal(claims: Claims, issuer: Issuer) -> str:
    name = claims.other(issuer.user_claim)
    if not isinstance(name, str) or not name:
        raise Invalid(f"the issuer does not say who they are: its tokens have no {issuer.user_claim!r}")
    if issuer.user_claim == "email" and claims.other("email_verified") is not True:
        raise Unauthenticated("the issuer has not verified their e-mail address")
    try:
        principal = check_principal(f"u-{name}")
    except Invalid as error:
        raise Invalid(f"what the issuer calls them ({issuer.user_claim}) cannot be a user's name here") from error
    if principal.startswith(("u-a-", "u-w-")):
        raise Invalid("what the issuer calls them is what a service user is called here")
    return principal


def _groups(found: JsonValue, issuer: Issuer) -> tuple[str, ...]:
    if found is None:
        return ()
    if not isinstance(found, list) or len(found) > MAX_GROUPS:
        raise Unauthenticated(f"{issuer.groups_claim!r} holds at most {MAX_GROUPS} groups")
    meant = (issuer.groups.get(name, ()) for name in found if isinstance(name, str))
    return tuple(sorted({group for groups in meant for group in groups}))
