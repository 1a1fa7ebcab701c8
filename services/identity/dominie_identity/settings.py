"""Settings of identity."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from dominie_contracts.spiffe import TRUST_DOMAIN
from dominie_contracts.token import MAX_RUN_TOKEN_S
from dominie_identity.people.issuers import Issuer
from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_IDENTITY_…`."""

    identity_rights_s: float = Field(default=300.0, ge=1)
    """How long the rights of a connection last; a client renews them at half-life."""
    identity_run_token_s: int = Field(default=MAX_RUN_TOKEN_S, ge=1, le=MAX_RUN_TOKEN_S)
    """How long a run token lasts."""
    identity_trust_domain: str = TRUST_DOMAIN
    """The trust domain of the SPIFFE ids in run tokens."""
    identity_watch_s: float = Field(default=0.025, gt=0)
    """How often the warden looks at who sends how much."""
    identity_flood_messages_per_s: float = Field(default=10_000.0, gt=0)
    """What an agent, a worker or a person may send to the broker, over all connections, before it counts as a flood."""
    identity_flood_bytes_per_s: float = Field(default=64.0 * 2**20, gt=0)
    identity_max_connections_each: int = Field(default=256, ge=1, le=1000)
    """So many connections one agent, worker or person may have at once."""
    identity_broker_log: Path | None = None
    """The broker's log, where its refusals stand; by default that of the broker of `dominie up`."""
    identity_fork_s: int = Field(default=3600, ge=1)
    """How long a forked run gets tokens, from when it was opened."""
    identity_issuers: Mapping[str, Issuer] = Field(default_factory=dict)
    """The OpenID providers where people sign in, and the clusters whose pods are agents, each by a name."""
