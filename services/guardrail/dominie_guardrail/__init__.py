"""Guardrail: policies, and who said yes."""

from dominie_guardrail.app import build

__all__ = ["build"]
