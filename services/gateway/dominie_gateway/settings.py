"""Settings of the gateway."""

from pydantic import Field

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
    """Opens the live page to whoever knows it; without one, only this machine may look."""
