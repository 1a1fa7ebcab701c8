"""Settings of the scheduler."""

from pydantic import Field

from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_SCHEDULER_…`."""

    scheduler_default_slots: int = Field(default=4, ge=1)
    """Calls at once to a model that nobody has offered with a number of its own."""
    scheduler_reserve_usd: float = Field(default=0.5, ge=0)
    """What a call under a ceiling is taken to cost until it has ended."""
