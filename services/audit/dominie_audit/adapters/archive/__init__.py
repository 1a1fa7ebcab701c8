"""Sealed segments into the archive, each checked there against a signed checkpoint."""

from dominie_audit.adapters.archive.archiver import Archiver
from dominie_audit.adapters.archive.ours import ArchiveDiffers

__all__ = ["ArchiveDiffers", "Archiver"]
