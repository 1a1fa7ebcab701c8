"""Artifacts, as audit has to do with them: read for people who may, and swept when nothing refers to them."""

from dominie_audit.adapters.artifacts.reader import Reader
from dominie_audit.adapters.artifacts.sweeper import Sweeper

__all__ = ["Reader", "Sweeper"]
