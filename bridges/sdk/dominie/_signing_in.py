"""From an issuer's word to a key of one's own: the gateway names the issuers, identity takes the ID token."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
from joserfc import jwt
from pydantic import BaseModel, ConfigDict, ValidationError

from dominie import _login
from dominie._config import here
from dominie._credentials import ALGORITHM
from dominie._device import Device, Relay
from dominie._device import sign_in as with_device
from dominie._login import Login
from dominie._project import Project
from dominie.discovery import check_url, discover
from dominie.keys import KeyPair
from dominie_contracts import Invalid, Message, ProblemDetails, Unavailable
from dominie_contracts.identity import SignIn
from dominie_contracts.people import (
    PROOF_S,
    SIGN_IN_AUDIENCE,
    Issuers,
    IssuerView,
    SignedIn,
    SignInClaims,
    digest_signed,
)
from dominie_contracts.problems import problem_from

R = TypeVar("R", bound=Message)
GATEWAY = "DOMINIE_GATEWAY_URL"
TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True)
class Place:
    """A deployment: its gateway, where one signs in, and its broker."""

    gateway: str
    url: str

    @classmethod
    def find(cls, gateway: str | None) -> "Place":
        """The one that is named, else that of the environment or of this project.

        Raises:
            Unavailable: There is none.
            Invalid: Its gateway is neither https nor on this machine.
        """
        found = gateway or os.environ.get(GATEWAY)
        if found is None:
            found = Project.find().gateway_url
        if found is None:
            raise Unavailable(f"no gateway runs here, and one signs in there; name it: --gateway URL, or {GATEWAY}")
        return cls(check_url(found).rstrip("/"), here())


async def sign_in(place: Place, name: str | None, *, show: Callable[[Device, IssuerView], None]) -> Login:
    """Sign in, and have a key; the one that is here already stays.

    Raises:
        Problem: What the issuer, or identity, refused with.
    """
    before = _login.find(place.url)
    keys = KeyPair.generate() if before is None else KeyPair(before.seed)
    async with httpx.AsyncClient() as client:
        issuer = _chosen((await _ask(client, f"{place.gateway}/people/issuers", None, Issuers)).issuers, name)
        at = Relay.of(place.gateway, issuer) if issuer.relayed else await discover(client, issuer.url)
        token = await with_device(client, at, issuer, show=lambda device: show(device, issuer))
        asked = SignIn(issuer=issuer.name, subject_token=token, nkey=keys.public, proof=proof(token, keys))
        who = await _ask(client, f"{place.gateway}/people/sign-in", asked, SignedIn)
    return Login(url=place.url, who=who, seed=keys.seed)


def proof(token: str, keys: KeyPair) -> str:
    """That whoever shows an ID token has the key that it is to be for."""
    now = int(time.time())
    claims = SignInClaims(aud=SIGN_IN_AUDIENCE, token=digest_signed(token), iat=now, exp=now + PROOF_S)
    return jwt.encode({"alg": ALGORITHM, "typ": "JWT"}, claims.model_dump(), keys.jwk, algorithms=[ALGORITHM])


def _chosen(issuers: tuple[IssuerView, ...], name: str | None) -> IssuerView:
    if not issuers:
        raise Invalid("nobody can sign in here: identity has no issuer (DOMINIE_IDENTITY_ISSUERS)")
    fit = [issuer for issuer in issuers if name in (None, issuer.name)]
    if len(fit) != 1:
        raise Invalid(f"with which issuer? --issuer {' | '.join(issuer.name for issuer in issuers)}")
    return fit[0]


class _Problem(BaseModel):
    """A problem as the gateway says it, with OpenAI's fields beside."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    type: str
    title: str
    status: int
    detail: str
    retry_after_s: float | None = None


async def _ask(client: httpx.AsyncClient, url: str, command: Message | None, reply: type[R]) -> R:
    body = None if command is None else command.model_dump_json()
    try:
        answer = await client.request("GET" if body is None else "POST", url, content=body, timeout=TIMEOUT_S)
    except (httpx.HTTPError, OSError) as error:
        raise Unavailable(f"the gateway at {url!r} does not answer: {type(error).__name__}") from error
    try:
        if answer.status_code == httpx.codes.OK:
            return reply.model_validate_json(answer.content)
        found = _Problem.model_validate_json(answer.content)
    except ValidationError as error:
        raise Unavailable(f"{url!r} is no gateway of Dominie: it answers {answer.status_code}") from error
    raise problem_from(ProblemDetails(**found.model_dump()))
