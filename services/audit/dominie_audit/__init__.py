"""Trails, search and the check of the log."""

from dominie_audit.app import build

__all__ = ["build"]
