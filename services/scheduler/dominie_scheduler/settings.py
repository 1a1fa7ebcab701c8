"""Settings of the scheduler."""

from pydantic import Field

from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_SCHEDULER_…`."""

    scheduler_default_slots: int = Field(default=4, ge=1)
    """Calls at once to a model that nobody has offered with a number of its own."""
