"""The issuers that are believed, by configuration: whom they may vouch for, with which algorithms, and as whom."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from dominie.discovery import check_url
from dominie_contracts import Problem
from dominie_contracts.subjects import check_principal, check_tenant

Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "Ed25519"]
"""All with a public key; never `none`, nor one for which whoever checks could sign."""


class Issuer(BaseModel):
    """One issuer, for one tenant: an OpenID provider, where people sign in, or a cluster, whose pods are agents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str
    """`iss`, to the letter."""
    tenant: str
    audience: str = Field(min_length=1, max_length=500)
    """`aud`: of a provider, the client id that is registered there for Dominie."""
    kind: Literal["oidc", "kubernetes"] = "oidc"
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256", "EdDSA")
    scopes: str = "openid"
    user_claim: str = "sub"
    """What names the user here: `u-VALUE`; `email` counts where the issuer says that it has verified it."""
    groups_claim: str = "groups"
    groups: Mapping[str, tuple[str, ...]] = Field(default_factory=dict)
    """The issuer's groups, and which groups here each means; without an entry a group means nothing."""
    login_s: int = Field(default=12 * 3600, ge=60, le=30 * 86400)
    """How long a person's key is taken after they signed in."""
    agents: Mapping[str, str] = Field(default_factory=dict)
    """Of a cluster: the service accounts, `NAMESPACE:NAME`, and which agent or tool worker each is."""
    ca_file: Path | None = None
    """Certificates that are believed instead of the machine's, where a cluster has its own."""
    bearer_file: Path | None = None
    """A token to ask for the keys with: most clusters want their own."""

    @field_validator("url")
    @classmethod
    def _believable(cls, url: str) -> str:
        return _checked(check_url, url)

    @field_validator("tenant")
    @classmethod
    def _tenant(cls, tenant: str) -> str:
        return _checked(check_tenant, tenant)

    @model_validator(mode="after")
    def _of_its_kind(self) -> "Issuer":
        if not self.algorithms:
            raise ValueError("without an algorithm nothing is believed; leave them out for the usual ones")
        if (self.kind == "kubernetes") != bool(self.agents):
            raise ValueError("`agents` are a cluster's: name them with kind `kubernetes`, and with no other")
        for account, principal in self.agents.items():
            if account.count(":") != 1 or not _checked(check_principal, principal).startswith(("a-", "w-")):
                raise ValueError(f"agents: NAMESPACE:NAME is a-NAME or w-NAME, not {account!r} is {principal!r}")
        return self


def _checked(check: Callable[[str], str], text: str) -> str:
    try:
        return check(text)
    except Problem as problem:
        raise ValueError(problem.detail) from problem
