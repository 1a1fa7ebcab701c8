"""Settings of audit."""

from pydantic import Field

from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_AUDIT_…`."""

    audit_reply_bytes: int = Field(default=900_000, ge=1_000)
    """How much of a trail fits in one reply; the broker takes 1 MiB. A longer one says that it was truncated."""
    audit_checkpoint_s: float = Field(default=1.0, gt=0)
    """While the log grows, a checkpoint is signed this often."""
    audit_checkpoint_events: int = Field(default=10_000, ge=1)
    """Or after so many events, if they come sooner."""
    audit_start_events: int = Field(default=1_000_000, ge=1)
    """The newest events that the last checkpoint covers, so many, are checked before it serves; older ones then."""
    audit_witnesses: str = ""
    """Who is asked to sign each checkpoint: `URL VKEY`, several parted by commas."""
    audit_witness_quorum: int = Field(default=0, ge=0)
    """So many of them have to sign a checkpoint before it counts as witnessed; with 0, one. Nothing waits for them."""
    audit_witness_timeout_s: float = Field(default=5.0, gt=0)
    """How long one of them may take to answer."""
    audit_erase_s: float = Field(default=120.0, gt=0)
    """How long an erasure waits until every service has built anew what it derived."""
    audit_services: str = ""
    """Which services run, parted by commas: an erasure hears from these, and from all that have written events."""
    audit_artifact_grace_s: float = Field(default=86_400.0, ge=3600)
    """How long an artifact is kept that no event refers to: it may be about to."""
    audit_sweep_s: float = Field(default=600.0, gt=0)
    """How often it is looked for such artifacts."""
