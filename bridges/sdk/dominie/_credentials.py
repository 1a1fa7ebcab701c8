"""Who connects: a principal, its key, and the assertion it signs anew for each connection (RFC 7523)."""

import time
import uuid
from dataclasses import dataclass, field

from joserfc import jwt

from dominie.keys import KeyPair
from dominie_contracts.subjects import inbox_prefix
from dominie_contracts.token import CONNECT_AUDIENCE

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

    @property
    def inbox_prefix(self) -> str:
        """Where replies go; nobody else can read it."""
        return inbox_prefix(self.tenant, self.principal)

    def assertion(self) -> str:
        """A fresh assertion: who connects, signed with the key that also answers the broker's challenge."""
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
        return jwt.encode({"alg": ALGORITHM, "typ": "JWT"}, claims, self.keys.jwk, algorithms=[ALGORITHM])
