"""Settings of the model service."""

from pathlib import Path

from pydantic import Field, SecretStr

from dominie_contracts import Message
from dominie_kit import KitSettings

DEFAULT_SCRIPT = Path(__file__).parent / "adapters" / "default_script.json"
SCRIPTED = "openai/scripted"


class ModelSetting(Message):
    """One model that agents can ask for: a value of `DOMINIE_MODEL_OFFERS`, a JSON object by name."""

    model: str
    """As litellm names it: `openai/gpt-4.1`, `anthropic/claude-sonnet-4`, …"""
    api_base: str | None = None
    api_key: SecretStr | None = None
    """Without one, the provider's own environment variable."""
    slots: int = Field(default=4, ge=1)
    input_cost_per_token: float | None = None
    output_cost_per_token: float | None = None


class Settings(KitSettings):
    """Beside the shared ones: `DOMINIE_MODEL_…`."""

    model_offers: dict[str, ModelSetting] = Field(default_factory=dict)
    """Empty: `auto` and `scripted` are a scripted model that this service runs itself, so that nothing needs a key."""
    model_script: Path = DEFAULT_SCRIPT
    """What the scripted model plays."""
    model_timeout_s: float = Field(default=120.0, gt=0)
    """The longest a call may take."""
