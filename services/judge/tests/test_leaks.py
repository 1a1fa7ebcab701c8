"""What looks like a secret, and what only resembles one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dominie_judge.adapters.leaks import _WORDS, secret
from dominie_kit.checks.secrets import Secrets

A20, A36 = "a1B2c3D4e5F6g7H8i9J0", "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("-----BEGIN OPENSSH " + "PRIVATE KEY-----", "a private key"),
        ("use AKIA" + "IOSFODNN7EXAMPLE now", "an AWS access key"),
        ("ghp_" + A36, "a GitHub token"),
        ("glpat-" + A20, "a GitLab token"),
        ("AIza" + A36[:35], "a Google API key"),
        ("sk-proj-" + A36, "a model vendor's key"),
        ("sk-ant-api03-" + A36, "a model vendor's key"),
        ("xoxb-" + "123456789012-abc", "a Slack token"),
        ("sk_live_" + A20, "a Stripe key"),
        ("eyJhbGciOiJIUzI1NiJ9." + A20 + "." + A36, "a signed token (JWT)"),
        ("SU" + "A2B3C4D5" * 7, "an nkey's seed"),
        ("dk_" + A36, "a key of this system"),
        ('api_key = "' + A20 + '"', "a credential"),
        ("Password: " + A20, "a credential"),
        ("card 4111 1111 1111 1111, exp 12/30", "a card number"),
        ("5555-5555-5555-4444", "a card number"),
        ("378282246310005", "a card number"),
    ],
)
def test_a_secret_is_found(text: str, kind: str) -> None:
    assert secret(text) == kind
    assert secret(f"Here it is: {text}.") == kind


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Your order 4111111111111112 has shipped.",
        "Order 1234-5678, tracking 1Z999AA10123456784",
        "The risk-adjusted token: see page 12",
        "Your password: you can reset it on the settings page",
        "task-management and ask-me-anything",
        "call +49 30 1234567890",
        "sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    ],
)
def test_what_is_no_secret(text: str) -> None:
    assert secret(text) is None


@given(st.text(max_size=300))
def test_any_text_can_be_read(text: str) -> None:
    assert secret(text) is None or isinstance(secret(text), str)


@given(st.integers(0, 10**14 - 1), st.integers(0, 9))
def test_one_wrong_digit_is_noticed(account: int, check: int) -> None:
    body = f"4{account:014}"
    assert sum(secret(f"{body}{digit}") == "a card number" for digit in range(10)) == 1


def test_every_secret_that_is_found_has_words() -> None:
    assert _WORDS.keys() == {*Secrets.finds}
