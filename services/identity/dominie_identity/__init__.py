"""Identity: who is this, on whose behalf, and what may it do."""

from dominie_identity.app import build

__all__ = ["build"]
