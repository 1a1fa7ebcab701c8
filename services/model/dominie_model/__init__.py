"""Models: calls to them, and what they cost."""

from dominie_model.app import build

__all__ = ["build"]
