"""What every service reads from its surroundings, once."""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class KitSettings(BaseSettings):
    """Settings that all services share: environment variables `DOMINIE_…`.

    A service adds its own fields, each named after it: `tool_slots` is `DOMINIE_TOOL_SLOTS`.
    """

    model_config = SettingsConfigDict(env_prefix="DOMINIE_", frozen=True, extra="ignore")

    nats_url: str = "nats://127.0.0.1:4222"
    """The broker; of a cluster several, parted by commas."""
    replicas: int = Field(default=1, ge=1, le=5)
    """How many copies of the log `dominie provision --replicas` made: with several, appends are sent each by itself."""
    store: str = "nats"
    """Where the events are kept: `nats`, on the bus, or a KurrentDB: `kurrentdb://HOST:2113?tls=false`."""
    archive: str | None = None
    """Where sealed segments go: a folder, or `s3://BUCKET/PREFIX`; `archive` in the folder of state, by default."""
    keys: Path = Path("keys")
    """The folder with this service's seeds and the public key of identity."""
    state: Path = Path(".dominie")
    """Where read models live; they can be rebuilt from the log."""
    max_in_flight: int = Field(default=512, ge=1)
    """Commands at once; beyond it the answer is `unavailable`, with a time to try again."""
    max_in_flight_each: int = Field(default=320, ge=1)
    """Commands of one agent, worker or person at once; beyond it the answer to that one is the same."""
    default_deadline_s: float = Field(default=30.0, gt=0)
    """For a command that names none."""
    staleness_s: float = Field(default=5.0, gt=0)
    """How old the policies may be, by guardrail's heartbeat, before everything is refused; after half of it nobody can
    be asked."""
    heartbeat_s: float = Field(default=1.0, gt=0)
    local: bool = False
    """Local development: an asserted user counts."""
    observe: bool = False
    """Decisions are made and recorded, and nothing is held to them; only in local development."""
    log_level: str = "warning"

    @model_validator(mode="after")
    def _observed_at_home(self) -> Self:
        if self.observe and not self.local:
            raise ValueError(
                "DOMINIE_OBSERVE enforces no policy: it is for local development alone (dominie up --observe)"
            )
        return self
