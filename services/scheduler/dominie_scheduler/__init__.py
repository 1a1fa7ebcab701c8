"""The scheduler: who goes next."""

from dominie_scheduler.app import build

__all__ = ["build"]
