"""Keys, tokens and card numbers in a text, in words. Pure.

The kit's checks find them; a finding names the kind and never repeats the value, since a vote is recorded.
"""

from collections.abc import Mapping

from dominie_kit.checks.personal import holds_card
from dominie_kit.checks.secrets import Secrets

_WORDS: Mapping[str, str] = {
    "secret.private-key": "a private key",
    "secret.aws-access-key": "an AWS access key",
    "secret.github-token": "a GitHub token",
    "secret.gitlab-token": "a GitLab token",
    "secret.google-api-key": "a Google API key",
    "secret.model-vendor-key": "a model vendor's key",
    "secret.slack-token": "a Slack token",
    "secret.stripe-key": "a Stripe key",
    "secret.jwt": "a signed token (JWT)",
    "secret.nkey-seed": "an nkey's seed",
    "secret.gateway-key": "a key of this system",
    "secret.password": "a credential",
}
_secrets = Secrets()


def secret(text: str) -> str | None:
    """What secret the text seems to hold, by kind; None if none."""
    kind = next(iter(_secrets.look(text)), None)
    if kind is None:
        return "a card number" if holds_card(text) else None
    return _WORDS[kind]
