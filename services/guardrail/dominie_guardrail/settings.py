"""Settings of guardrail."""

from pathlib import Path

from dominie_kit import KitSettings

DEFAULT_POLICIES = Path(__file__).parent / "policies"


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_GUARDRAIL_…`."""

    guardrail_policies: Path | None = None
    """A folder of `*.cedar` files to publish at every start; without one, the default set is published once."""
    guardrail_approval_s: int = 3600
    """How long a yes holds."""
    guardrail_refusals_s: float = 60.0
    """How often, at most, it is written how many answers of a person were refused."""
    guardrail_settle_s: float = 2.0
    """How often it is looked what became of actions that reserved a share of a limit."""
    guardrail_vanish_s: float = 300.0
    """After so long an action that reserved and did not begin has vanished: its share is free again."""
