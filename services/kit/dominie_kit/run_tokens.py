"""Verifies run tokens: once, then from a cache until they expire or their agent is revoked."""

import time
from collections import OrderedDict

from joserfc import jwt
from joserfc.errors import JoseError
from pydantic import ValidationError

from dominie.keys import public_jwk
from dominie_contracts import RunClaims, Unauthenticated
from dominie_contracts.token import AUDIENCE

ALGORITHM = "Ed25519"
"""RFC 9864's name of what RFC 8037 called EdDSA."""
ISSUER = "dominie/identity"
_CACHE = 4096
_LEEWAY_S = 5


class RunTokenVerifier:
    """Checks a run token's signature, issuer, audience and times."""

    def __init__(self, signer: str) -> None:
        self._key = public_jwk(signer)
        self._registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            iat={"essential": True},
        )
        self._cache: OrderedDict[str, RunClaims] = OrderedDict()

    def verify(self, token: str) -> RunClaims:
        """The claims of a token that holds.

        Raises:
            Unauthenticated: It does not; the text says why.
        """
        claims = self._cache.get(token)
        if claims is None:
            claims = self._cache[token] = self._check(token)
            if len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        if claims.exp + _LEEWAY_S <= time.time():
            raise Unauthenticated("the run token has expired; mint a new one")
        return claims

    def _check(self, token: str) -> RunClaims:
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
            self._registry.validate(decoded.claims)
            claims = RunClaims.model_validate(decoded.claims)
        except (JoseError, ValidationError, ValueError) as error:
            raise Unauthenticated(f"the run token does not hold: {type(error).__name__}") from error
        if claims.exp - claims.iat > RunClaims.MAX_S:
            raise Unauthenticated(f"the run token claims to live longer than {RunClaims.MAX_S} s")
        return claims
