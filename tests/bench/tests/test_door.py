"""The benchmarks of the broker's door run, and print one JSON object alone."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

DOMINIE = Path(sys.executable).parent / "dominie"
TIMEOUT_S = 110

pytestmark = pytest.mark.timeout(120)


def bench(*words: str) -> dict[str, Any]:
    done = subprocess.run([DOMINIE, "bench", *words, "--json"], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_who_is_revoked_is_out() -> None:
    found = bench("connect", "--connects", "10")

    assert found.keys() == {"static_p50_ms", "callout_p50_ms", "ratio", "kick_p50_ms", "revoked_accept_ms"}
    assert 0 < found["static_p50_ms"] < found["callout_p50_ms"]
    assert 0 < found["kick_p50_ms"]
    assert found["revoked_accept_ms"] <= 50


def test_shares_of_a_limit_are_written_in_pages() -> None:
    found = bench("limits", "--shares", "100")

    assert found.keys() == {"p50_ms", "p99_ms", "in_flight", "in_flight_p50_ms", "rate_per_s", "shares_per_append"}
    assert 0 < found["p50_ms"] <= found["p99_ms"]
    assert found["rate_per_s"] > 0
    assert found["shares_per_append"] > 1


def test_another_tenants_calls_go_on_in_a_flood() -> None:
    found = bench("flood", "--seconds", "3")

    assert [size.keys() for size in found["sizes"]] == [
        {"bytes", "other_failed", "other_p99_ratio", "services_cut", "refusal_events"}
    ] * 2
    assert [size["bytes"] for size in found["sizes"]] == [200, 250_000]
    for size in found["sizes"]:
        assert (size["other_failed"], size["services_cut"]) == (0, 0)
        assert 0 < size["refusal_events"] <= 10
