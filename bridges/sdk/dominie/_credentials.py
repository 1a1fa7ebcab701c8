"""Who connects: a principal, its key, and the assertion it signs anew for each connection (RFC 7523)."""

import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from joserfc import jwt

from dominie.keys import KeyPair
from dominie_contracts.plans import Plan
from dominie_contracts.subjects import inbox_prefix
from dominie_contracts.token import (
    CONNECT_AUDIENCE,
    MAX_SUBJECT_TOKEN_S,
    SUBJECT_AUDIENCE,
    Authorization,
    Ceiling,
    Detail,
    Grants,
    MayAct,
    SubjectClaims,
)

ALGORITHM = "Ed25519"
"""RFC 9864; `EdDSA` is deprecated."""
ASSERTION_S = 60
RIGHTS_S = 300.0
"""How long the broker's rights last where nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """All that a principal needs to connect."""

    url: str
    tenant: str
    principal: str
    keys: KeyPair
    rights_s: float = RIGHTS_S
    user: str | None = None
    """On whose behalf a run acts that names nobody."""
    auth_time: int = field(default_factory=lambda: int(time.time()))
    """When the key was opened (Unix time): a person's answers want it to be of late."""
    seed_file: Path | None = None
    """Where the key is kept; it is read again for each connection, for it may have been rotated."""

    token_file: Path | None = None
    """Where a cluster puts what it says of this workload, and puts it anew: it is read for each connection."""

    def fresh(self) -> "Credentials":
        """These, with the key that is in its file now."""
        if self.seed_file is None:
            return self
        try:
            keys = KeyPair.load(self.seed_file)
        except Exception:  # it is gone, or being written; nkeys raises what it likes
            return self
        return self if keys.seed == self.keys.seed else replace(self, keys=keys)

    @property
    def inbox_prefix(self) -> str:
        """Where replies go; nobody else can read it."""
        return inbox_prefix(self.tenant, self.principal)

    def assertion(self) -> str:
        """A fresh assertion: who connects, signed with the key that also answers the broker's challenge.

        Raises:
            OSError: A workload's token is not there.
        """
        now = int(time.time())
        claims = {
            "iss": self.principal,
            "sub": self.principal,
            "tenant": self.tenant,
            "aud": CONNECT_AUDIENCE,
            "iat": now,
            "exp": now + ASSERTION_S,
            "jti": uuid.uuid4().hex,
        }
        if self.token_file is not None:
            claims["token"] = self.token_file.read_text().strip()
        return self._signed(claims)

    def subject_token(
        self,
        agent: str,
        run: str,
        *,
        grants: Grants,
        until_s: int,
        max_cost_usd: float | None = None,
        request_digest: str | None = None,
        plan: Plan | None = None,
        expires_in_s: int = MAX_SUBJECT_TOKEN_S,
    ) -> str:
        """What a person signs so that an agent may act for them in one run, and do no more than this.

        Args:
            agent: `a-NAME`.
            run: The run's id; the token is good for no other.
            grants: What the run may use, of what the agent may.
            until_s: Unix time until when the run gets tokens.
            max_cost_usd: What the run may spend, with all that is run on its behalf.
            request_digest: SHA-256 of what the person asked for.
            plan: What the run is held to.
            expires_in_s: How long the agent may wait before it shows the token.
        """
        now = int(time.time())
        ceilings: tuple[Detail, ...] = () if max_cost_usd is None else (Ceiling(run=run, max_cost_usd=max_cost_usd),)
        claims = SubjectClaims(
            sub=self.principal,
            tenant=self.tenant,
            aud=SUBJECT_AUDIENCE,
            may_act=MayAct(sub=agent),
            run=run,
            until_s=until_s,
            authorization_details=(Authorization(grants=grants), *ceilings),
            request_digest=request_digest,
            plan=plan,
            iat=now,
            exp=now + expires_in_s,
            jti=uuid.uuid4().hex,
        )
        return self._signed(claims.model_dump(mode="json", exclude_none=True))

    def _signed(self, claims: dict[str, Any]) -> str:
        return jwt.encode({"alg": ALGORITHM, "typ": "JWT"}, claims, self.keys.jwk, algorithms=[ALGORITHM])
