"""Signing in with a browser: the authorization code flow with PKCE, state and nonce (RFC 6749, 7636, 9207, 9700).

What a browser has begun is sealed in a cookie of its own, so that beginning costs nothing here. It is good for ten
minutes and for one answer of the issuer.
"""

import base64
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256

import httpx
from cryptography.fernet import Fernet, InvalidToken
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.datastructures import QueryParams

from dominie.discovery import check_url
from dominie_contracts import Forbidden, Invalid, Unauthenticated, Unavailable
from dominie_contracts.people import MAX_SUBJECT_CHARS, IssuerView
from dominie_gateway.people.clients import Clients

BEGUN_S = 600
MAX_CODE_CHARS = 4096
WRONG_CLIENT = ("invalid_client", "unauthorized_client")
"""What an issuer says where it wants another secret, or one at all (RFC 6749, 5.2)."""
MAX_USED = 100_000
"""Answers of issuers within ten minutes; beyond it nobody signs in until some of them are forgotten."""


class Begun(BaseModel):
    """What only the browser that began has, sealed: it cannot read it either."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    issuer: str
    state: str
    nonce: str
    verifier: str
    next: str


class _Token(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id_token: str | None = Field(default=None, max_length=MAX_SUBJECT_CHARS)
    error: str | None = None


class CodeFlow:
    """Begins a sign-in with an issuer, and takes its answer."""

    def __init__(self, clients: Clients, *, clock: Callable[[], float] = time.time) -> None:
        self._clients = clients
        self._clock = clock
        self._seal = Fernet(Fernet.generate_key())
        self._used: OrderedDict[str, float] = OrderedDict()

    async def begin(self, issuer: IssuerView, callback: str, next_: str) -> tuple[str, str]:
        """Where the browser goes, and the cookie that it goes with.

        Raises:
            Unavailable: The issuer is away, or signs nobody in with a browser.
            Invalid: Where it would send people cannot be believed.
        """
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        begun = Begun(issuer=issuer.name, state=state, nonce=nonce, verifier=verifier, next=next_)
        metadata = await self._clients.metadata(issuer)
        if metadata.authorization_endpoint is None:
            raise Unavailable(f"the issuer {issuer.name!r} signs nobody in with a browser")
        asked = {
            "response_type": "code",
            "client_id": issuer.client_id,
            "redirect_uri": callback,
            "scope": issuer.scopes,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge(verifier),
            "code_challenge_method": "S256",
        }
        address = httpx.URL(check_url(metadata.authorization_endpoint)).copy_merge_params(asked)
        cookie = self._seal.encrypt_at_time(begun.model_dump_json().encode(), int(self._clock()))
        return str(address), cookie.decode()

    def take(self, cookie: str, answer: QueryParams) -> Begun:
        """What this browser had begun, if this is the issuer's first answer to it.

        Raises:
            Unauthenticated: It is another browser's, too late, or was answered.
            Unavailable: Too many are answered at a time.
        """
        begun = self._unsealed(cookie)
        if not hmac.compare_digest(begun.state.encode(), single(answer, "state").encode()):
            raise Unauthenticated("this answer is to another sign-in than this browser's last one (state)")
        now_s = self._clock()
        while self._used and next(iter(self._used.values())) < now_s - BEGUN_S - 60:
            self._used.popitem(last=False)
        if begun.state in self._used:
            raise Unauthenticated("this sign-in was answered before (state)")
        if len(self._used) >= MAX_USED:
            raise Unavailable("too many people sign in", retry_after_s=60)
        self._used[begun.state] = now_s
        return begun

    async def redeem(self, issuer: IssuerView, begun: Begun, callback: str, answer: QueryParams) -> str:
        """The ID token for the issuer's code. Whether it holds is for identity to say.

        Raises:
            Forbidden: The issuer did not sign them in.
            Unauthenticated: The answer is another issuer's, or its code is good for nothing.
            Unavailable: The issuer is away.
        """
        if "iss" in answer and single(answer, "iss") != issuer.url:
            raise Unauthenticated("the answer is of another issuer (iss)")
        if "error" in answer:
            said = "the sign-in was declined there" if answer["error"] == "access_denied" else "it refused"
            raise Forbidden(f"the issuer {issuer.name!r} signed nobody in: {said}")
        form = {
            "grant_type": "authorization_code",
            "code": single(answer, "code"),
            "redirect_uri": callback,
            "code_verifier": begun.verifier,
        }
        metadata = await self._clients.metadata(issuer)
        if metadata.token_endpoint is None:
            raise Unavailable(f"the issuer {issuer.name!r} signs nobody in with a browser")
        found = await self._clients.ask(issuer, metadata.token_endpoint, form)
        try:
            token = _Token.model_validate(found)
        except ValidationError as error:
            raise Unauthenticated(f"the issuer {issuer.name!r} answers with something that is no token") from error
        if token.error in WRONG_CLIENT:
            raise Unavailable(f"the issuer {issuer.name!r} does not take this gateway's client, or its secret")
        if token.id_token is None or token.error is not None:
            raise Unauthenticated(f"the issuer {issuer.name!r} gives no ID token for this code")
        return token.id_token

    def _unsealed(self, cookie: str) -> Begun:
        try:
            return Begun.model_validate_json(
                self._seal.decrypt_at_time(cookie.encode(), BEGUN_S, int(self._clock())), strict=True
            )
        except (InvalidToken, ValidationError, ValueError) as error:
            raise Unauthenticated("this browser has begun no sign-in in the last ten minutes") from error


def challenge(verifier: str) -> str:
    """What an issuer is told of a verifier before it sees it (RFC 7636, 4.2)."""
    return base64.urlsafe_b64encode(sha256(verifier.encode()).digest()).decode().rstrip("=")


def single(answer: QueryParams, name: str) -> str:
    """A parameter that is there once.

    Raises:
        Invalid: It is not.
    """
    found = answer.getlist(name)
    if len(found) != 1 or not 0 < len(found[0]) <= MAX_CODE_CHARS:
        raise Invalid(f"an answer of an issuer has one {name!r}")
    return found[0]
