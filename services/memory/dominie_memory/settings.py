"""Settings of memory."""

from dominie_kit import KitSettings


class Settings(KitSettings):
    """The shared ones alone; memory's files live in the folder `memory` of `DOMINIE_STATE`."""
