"""The HTTP edge."""

from dominie_gateway.app import build

__all__ = ["build"]
