"""Signs run tokens (RFC 7519), and makes the opaque keys of HTTP clients."""

import secrets
import uuid
from collections.abc import Callable

from joserfc import jwt

from dominie.keys import KeyPair, key_id
from dominie_contracts import RunClaims
from dominie_contracts.digests import digest_bytes
from dominie_contracts.identity import Registered
from dominie_contracts.runs import RunOpened
from dominie_contracts.spiffe import TRUST_DOMAIN, SpiffeId
from dominie_contracts.token import AUDIENCE, Actor, Confirmation
from dominie_identity.runs.asking import Asking
from dominie_identity.runs.authority import Authority
from dominie_kit.edge.run_tokens import ALGORITHM, ISSUER

KEY_PREFIX = "dk_"
_KEY_BYTES = 32


class RunTokenSigner:
    """Signs with the key that every edge checks run tokens with."""

    def __init__(self, signer: Callable[[float], KeyPair], trust_domain: str = TRUST_DOMAIN) -> None:
        """`signer` is asked at each token, since keys are rotated."""
        self._signer = signer
        self._trust_domain = trust_domain

    def chain(self, asking: Asking) -> tuple[str, ...]:
        """The SPIFFE ids of the agents that act, the current one first."""
        through = asking.caller.act.ids if asking.caller else ()
        return (str(SpiffeId.of(self._trust_domain, asking.agent.tenant, asking.agent.principal)), *through)

    def sign(self, agent: Registered, run: RunOpened, authority: Authority, *, now_s: int, expires_s: int) -> str:
        """The token of an agent acting for a user in one run; bound to the agent's registered key."""
        claims = RunClaims(
            iss=ISSUER,
            aud=AUDIENCE,
            sub=run.user,
            act=Actor.of_ids(run.chain or (str(SpiffeId.of(self._trust_domain, agent.tenant, agent.principal)),)),
            tenant=agent.tenant,
            run=run.run,
            session=run.session,
            cnf=Confirmation(nkey=agent.nkey),
            fork=run.fork,
            parents=run.parents,
            request_digest=run.request_digest,
            request_from=run.request_from,
            plan_digest=run.plan_digest,
            plan_run=run.plan_run,
            authorization_details=authority.details,
            iat=now_s,
            exp=expires_s,
            jti=uuid.uuid4().hex,
        )
        signer = self._signer(now_s)
        header = {"alg": ALGORITHM, "typ": "JWT", "kid": key_id(signer.public)}
        return jwt.encode(header, claims.model_dump(mode="json", exclude_none=True), signer.jwk, algorithms=[ALGORITHM])


def new_api_key() -> tuple[str, str]:
    """A new API key, and the digest that is all we keep of it."""
    key = KEY_PREFIX + secrets.token_urlsafe(_KEY_BYTES)
    return key, api_key_digest(key)


def api_key_digest(key: str) -> str:
    """The SHA-256 of an API key."""
    return digest_bytes(key.encode())
