"""Settings of the gateway."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator

from dominie.discovery import check_url
from dominie_contracts import Invalid
from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_GATEWAY_…`."""

    gateway_host: str = "127.0.0.1"
    gateway_port: int = Field(default=0, ge=0, le=65535)
    """0: any that is free; `gateway.json` in the folder of state names it."""
    gateway_answer_s: float = Field(default=120.0, gt=0)
    """How long an answer may take, from model and judges together."""
    gateway_body_s: float = Field(default=10.0, gt=0)
    """How long a request's body may take to arrive."""
    gateway_page_events: int = Field(default=500, ge=1, le=10_000)
    """Events that the live page holds."""
    gateway_page_token: str | None = None
    """Opens the live page to whoever knows it; without one, only this machine may look.

    Where people sign in, neither is enough: they see their tenant's events, and nobody else any."""
    gateway_public_url: str | None = None
    """Where people's browsers reach it, if not on this machine; there issuers send them back to."""
    gateway_client_secret_files: Mapping[str, Path] = Field(default_factory=dict)
    """Of issuers that want a secret of their clients: the file of each, by the issuer's name."""

    @field_validator("gateway_public_url")
    @classmethod
    def _believable(cls, url: str | None) -> str | None:
        if url is None:
            return None
        try:
            checked = check_url(url)
        except Invalid as problem:
            raise ValueError(problem.detail) from problem
        if "?" in checked:
            raise ValueError(f"{url[:200]!r} is an address with a query")
        return checked.rstrip("/")
