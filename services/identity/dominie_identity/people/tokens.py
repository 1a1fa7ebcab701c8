"""What an issuer's token says, once it is certain that it said so, to us, of now (OpenID Connect Core, 3.1.3.7).

Nothing of a token is quoted in a problem: what is signed by nobody may hold anything.
"""

import json
import warnings
from dataclasses import dataclass
from typing import Annotated

from joserfc import jws, jwt
from joserfc.errors import JoseError, SecurityWarning
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from dominie_contracts import Unauthenticated
from dominie_contracts.people import MAX_SUBJECT_CHARS
from dominie_identity.people.issuers import Issuer
from dominie_identity.people.keys import Key

LEEWAY_S = 10
"""By how much clocks may differ."""
_NO_TYPE = (None, "JWT")
_Seconds = Annotated[float, Field(ge=0, lt=2**53, allow_inf_nan=False)]


class _Header(BaseModel):
    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")

    alg: str
    kid: str | None = Field(default=None, max_length=500)
    typ: str | None = None
    crit: JsonValue = None


class Claims(BaseModel):
    """The claims of a token, as far as they are of use to every kind."""

    model_config = ConfigDict(frozen=True, strict=True, extra="allow")

    iss: str
    sub: str = Field(min_length=1, max_length=255)
    aud: str | list[str]
    exp: _Seconds
    iat: _Seconds
    nbf: _Seconds = 0
    azp: str | None = None
    auth_time: _Seconds | None = None
    nonce: str | None = None

    def other(self, name: str) -> JsonValue:
        """A claim that one issuer has and another has not."""
        found: JsonValue = (self.model_extra or {}).get(name)
        return getattr(self, name) if name in type(self).model_fields else found


@dataclass(frozen=True, slots=True)
class Shown:
    """A token as it was shown: nobody is known to have signed it yet."""

    token: str
    algorithm: str
    kid: str | None
    claims: Claims


def read(token: str) -> Shown:
    """Take a token apart.

    Raises:
        Unauthenticated: It is none, or of another kind than one that says who somebody is.
    """
    if len(token) > MAX_SUBJECT_CHARS:
        raise Unauthenticated(f"a token has at most {MAX_SUBJECT_CHARS} characters")
    try:
        found = jws.extract_compact(token.encode())
        header = _Header.model_validate(found.headers())
        claims = Claims.model_validate(json.loads(found.payload))
    except (JoseError, ValidationError, ValueError, RecursionError) as error:
        raise Unauthenticated(f"this is no token that says who somebody is ({type(error).__name__})") from error
    if header.crit is not None or header.typ not in _NO_TYPE:
        raise Unauthenticated("this is no token that says who somebody is: it is of another kind")
    return Shown(token, header.alg, header.kid, claims)


def check_algorithm(shown: Shown, issuer: Issuer) -> str:
    """The algorithm that a token says it is signed with, if it is one of those that are taken.

    Raises:
        Unauthenticated: It is not.
    """
    if shown.algorithm not in issuer.algorithms:
        raise Unauthenticated(f"tokens of this issuer are signed with {', '.join(issuer.algorithms)}")
    return shown.algorithm


def check(shown: Shown, issuer: Issuer, key: Key, *, now_s: float) -> Claims:
    """The claims, if this issuer signed them with this key, for us, and they hold now.

    Raises:
        Unauthenticated: They do not.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # `EdDSA` is the old name of an algorithm that is taken
            claims = Claims.model_validate(jwt.decode(shown.token, key, algorithms=[shown.algorithm]).claims)
    except (JoseError, ValidationError, ValueError) as error:
        raise Unauthenticated(f"the token is not signed by its issuer ({type(error).__name__})") from error
    _check_audience(claims, issuer)
    _check_times(claims, now_s)
    return claims


def _check_audience(claims: Claims, issuer: Issuer) -> None:
    audience = [claims.aud] if isinstance(claims.aud, str) else claims.aud
    if claims.iss != issuer.url:
        raise Unauthenticated("the token is of another issuer")
    if issuer.audience not in audience:
        raise Unauthenticated("the token is for another audience")
    if len(audience) > 1 and issuer.kind == "oidc" and claims.azp is None:
        raise Unauthenticated("the token is for several audiences, and says not for which it was issued (azp)")
    if claims.azp is not None and claims.azp != issuer.audience:
        raise Unauthenticated("the token was issued for another client (azp)")


def _check_times(claims: Claims, now_s: float) -> None:
    if not now_s < claims.exp + LEEWAY_S:
        raise Unauthenticated("the token has expired")
    if not claims.nbf - LEEWAY_S <= now_s:
        raise Unauthenticated("the token does not hold yet")
    if not claims.iat - LEEWAY_S <= now_s or not claims.iat < claims.exp:
        raise Unauthenticated("the token was issued later than now, or later than it ends")
