"""SPIFFE ids: what a principal is called outside its tenant, `spiffe://{trust domain}/{tenant}/agent/{name}`.

In subjects, in policies and in the log a principal is `a-NAME`, beside its tenant; tokens carry the whole id.
"""

import re
from dataclasses import dataclass
from functools import lru_cache

from dominie_contracts.problems import Invalid
from dominie_contracts.subjects import check_principal, check_tenant

TRUST_DOMAIN = "dominie.local"
"""Where nobody names another one."""
_KINDS = {"a": "agent", "u": "user", "w": "worker"}
_LETTERS = {kind: letter for letter, kind in _KINDS.items()}
_DOMAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,254}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """A principal of a tenant in a trust domain."""

    trust_domain: str
    tenant: str
    principal: str

    def __str__(self) -> str:
        kind, _, name = self.principal.partition("-")
        return f"spiffe://{self.trust_domain}/{self.tenant}/{_KINDS[kind]}/{name}"

    @classmethod
    def of(cls, trust_domain: str, tenant: str, principal: str) -> "SpiffeId":
        """The id of a principal.

        Raises:
            Invalid: One of them cannot be in an id: a name with `@`, say.
        """
        name = check_principal(principal)[2:]
        if not _DOMAIN.fullmatch(trust_domain) or not _NAME.fullmatch(name):
            raise Invalid(f"{principal!r} of {trust_domain!r} has no SPIFFE id: use [A-Za-z0-9._-] in names")
        return cls(trust_domain, check_tenant(tenant), principal)

    @staticmethod
    @lru_cache(maxsize=4096)
    def parse(text: str) -> "SpiffeId":
        """Parse an id.

        Raises:
            Invalid: It is none that `str()` of this class writes.
        """
        scheme, _, rest = text.partition("://")
        parts = rest.split("/")
        if scheme != "spiffe" or len(parts) != 4 or parts[2] not in _LETTERS:
            raise Invalid(f"{text[:200]!r} is not spiffe://DOMAIN/TENANT/agent/NAME")
        return SpiffeId.of(parts[0], parts[1], f"{_LETTERS[parts[2]]}-{parts[3]}")
