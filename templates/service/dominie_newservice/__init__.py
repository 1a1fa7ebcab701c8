"""newservice: one line on what it is for."""

from dominie_newservice.app import build

__all__ = ["build"]
