"""Memory: what agents remember of their users, and the turns of their sessions."""

from dominie_memory.app import build

__all__ = ["build"]
