"""Signs run tokens (RFC 7519), and makes the opaque keys of HTTP clients."""

import secrets
import uuid

from joserfc import jwt

from dominie.keys import KeyPair
from dominie_contracts import RunClaims
from dominie_contracts.digests import digest_bytes
from dominie_contracts.identity import Registered, RunOpened
from dominie_contracts.token import AUDIENCE, Actor, Authorization, Confirmation
from dominie_kit.run_tokens import ALGORITHM, ISSUER

KEY_PREFIX = "dk_"
_KEY_BYTES = 32


class RunTokenSigner:
    """Holds the key that every edge checks run tokens with."""

    def __init__(self, signer: KeyPair) -> None:
        self._key = signer.jwk

    def sign(self, agent: Registered, run: RunOpened, *, now_s: int) -> str:
        """The token of an agent acting for a user in one run; bound to the agent's registered key."""
        claims = RunClaims(
            iss=ISSUER,
            aud=AUDIENCE,
            sub=run.user,
            act=Actor(sub=agent.principal),
            tenant=agent.tenant,
            run=run.run,
            session=run.session,
            cnf=Confirmation(nkey=agent.nkey),
            fork=run.fork,
            authorization_details=(Authorization(grants=run.grants),),
            iat=now_s,
            exp=run.expires_s,
            jti=uuid.uuid4().hex,
        )
        header = {"alg": ALGORITHM, "typ": "JWT"}
        return jwt.encode(header, claims.model_dump(mode="json", exclude_none=True), self._key, algorithms=[ALGORITHM])


def new_api_key() -> tuple[str, str]:
    """A new API key, and the digest that is all we keep of it."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, api_key_digest(key)


def api_key_digest(key: str) -> str:
    """The SHA-256 of an API key."""
    return digest_bytes(key.encode())
