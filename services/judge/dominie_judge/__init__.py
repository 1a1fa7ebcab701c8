"""The judge: verdicts on outputs before they reach a user."""

from dominie_judge.app import build

__all__ = ["build"]
