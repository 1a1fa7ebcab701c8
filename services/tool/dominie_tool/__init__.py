"""Tools: what agents can do, and the record of it."""

from dominie_tool.app import build

__all__ = ["build"]
