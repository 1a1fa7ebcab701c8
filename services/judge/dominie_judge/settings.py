"""Settings of the judge."""

from typing import Literal

from pydantic import Field

from dominie_kit import KitSettings


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_JUDGE_…`."""

    judge_model: str = ""
    """Models that judge what the rules leave open, parted by commas (`auto`, or `small,large`); none by default.

    They are asked with the run's own token, so the agent must be granted them; each is paid for by the run.
    """
    judge_timeout_s: float = Field(default=5.0, gt=0)
    """How long a model may think; never more than half of what is left of the command's time."""
    judge_quorum: int = Field(default=1, ge=1)
    """How many objections hold an output back where no rule decides; one of those who spoke, if fewer spoke."""
    judge_on_abstention: Literal["release", "hold"] = "release"
    """What happens when nobody can tell: rules abstain on most honest answers, so holding those would stop everything
    where no model judges. Where models do, `hold` makes their absence stop the answer."""
