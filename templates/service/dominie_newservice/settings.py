"""Settings of newservice."""

from pydantic import Field

from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_NEWSERVICE_…`."""

    newservice_list_max: int = Field(default=100, ge=1)
    """Notes in one answer."""
