"""Trails, search, the check of the log, and the signed tree over it."""

from dominie_audit.app import build

__all__ = ["build"]
