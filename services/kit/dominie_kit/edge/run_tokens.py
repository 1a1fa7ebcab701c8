"""Verifies run tokens: once, then from a cache until they expire or their agent is revoked."""

import base64
import json
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey
from pydantic import ValidationError

from dominie.keys import key_id, public_jwk
from dominie_contracts import RunClaims, Unauthenticated
from dominie_contracts.keys import KeysChanged
from dominie_contracts.token import AUDIENCE

ALGORITHM = "Ed25519"
"""RFC 9864's name of what RFC 8037 called EdDSA."""
ISSUER = "dominie/identity"
_CACHE = 4096
_LEEWAY_S = 5
_MAX_HEAD_CHARS = 512


@dataclass(frozen=True, slots=True)
class Signer:
    """A public key that tokens are checked with, until a time."""

    key: OKPKey
    until_s: int | None = None


class RunTokenVerifier:
    """Checks a run token's signature, issuer, audience and times."""

    def __init__(self, signer: str) -> None:
        """`signer` is taken until the log says which keys are."""
        self._signers: dict[str, Signer] = {key_id(signer): Signer(public_jwk(signer))}
        self._first = key_id(signer)
        self._position = 0
        self._ends_s = math.inf
        self._registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": ISSUER},
            aud={"essential": True, "value": AUDIENCE},
            exp={"essential": True},
            iat={"essential": True},
        )
        self._cache: OrderedDict[str, RunClaims] = OrderedDict()

    def accept(self, changed: KeysChanged, position: int) -> None:
        """Take these keys from now on; what stands earlier in the log says nothing any more."""
        if position > self._position:
            self._position = position
            signers = (key for key in changed.keys if key.use == "signer")
            self._signers = {key.kid: Signer(public_jwk(key.nkey), key.until_s) for key in signers}
            self._drop()

    def _drop(self) -> None:
        """Check every token anew, and again when the next key ends."""
        now_s = time.time()
        ends = (each.until_s for each in self._signers.values() if each.until_s is not None and each.until_s > now_s)
        self._ends_s = min(ends, default=math.inf)
        self._cache.clear()

    def verify(self, token: str) -> RunClaims:
        """The claims of a token that holds.

        Raises:
            Unauthenticated: It does not; the text says why.
        """
        now_s = time.time()
        if now_s >= self._ends_s:
            self._drop()
        claims = self._cache.get(token)
        if claims is None:
            claims = self._cache[token] = self._check(token)
            if len(self._cache) > _CACHE:
                self._cache.popitem(last=False)
        if claims.exp + _LEEWAY_S <= now_s:
            raise Unauthenticated("the run token has expired; mint a new one")
        return claims

    def _check(self, token: str) -> RunClaims:
        try:
            decoded = jwt.decode(token, self._key_of(token), algorithms=[ALGORITHM])
            self._registry.validate(decoded.claims)
            claims = RunClaims.model_validate(decoded.claims)
        except (JoseError, ValidationError, ValueError) as error:
            raise Unauthenticated(f"the run token does not hold: {type(error).__name__}") from error
        if claims.exp - claims.iat > RunClaims.MAX_S:
            raise Unauthenticated(f"the run token claims to live longer than {RunClaims.MAX_S} s")
        return claims

    def _key_of(self, token: str) -> OKPKey:
        """The key that a token names; one that names none is checked with the first."""
        signer = self._signers.get(_kid(token.partition(".")[0]) or self._first)
        if signer is None or (signer.until_s is not None and signer.until_s <= time.time()):
            raise ValueError("the key is not taken")
        return signer.key


@lru_cache(maxsize=64)
def _kid(head: str) -> str | None:
    """The key that a token's header names; all tokens of one key have the same header."""
    if len(head) > _MAX_HEAD_CHARS:
        raise ValueError("the header is too long")
    found = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    kid = found.get("kid") if isinstance(found, dict) else None
    return kid if isinstance(kid, str) else None
