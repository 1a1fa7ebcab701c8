"""The benchmarks of the log run, print one JSON object alone, and count what is there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

DOMINIE = Path(sys.executable).parent / "dominie"
TIMEOUT_S = 50


def bench(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [DOMINIE, "bench", *words, "--json"], capture_output=True, text=True, check=True, timeout=TIMEOUT_S
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_appends_that_were_acknowledged_are_stored() -> None:
    found = bench("append", "--appends", "20")

    assert found.keys() == {"floor", "append", "acknowledged", "stored"}
    assert found["floor"].keys() == {"p50_ms"}
    assert [level["in_flight"] for level in found["append"]] == [1, 32, 256, 1024]
    assert all(level.keys() == {"in_flight", "p50_ms", "p99_ms", "rate_per_s"} for level in found["append"])
    assert found["stored"] == found["acknowledged"] > 0


def test_appends_that_come_too_late_fail_alone() -> None:
    found = bench("append", "--appends", "300", "--stale", "0.01")

    assert found.keys() == {"failed_stale", "failed_good", "rate_per_s", "clean_rate_per_s"}
    assert (found["failed_stale"], found["failed_good"]) == (15, 0)
    assert found["rate_per_s"] > 0 and found["clean_rate_per_s"] > 0


def test_a_log_that_is_replayed_is_checked() -> None:
    found = bench("replay", "--events", "1000")

    assert found.keys() == {"events", "rate_per_s", "verified"}
    assert (found["events"], found["verified"]) == (1000, True)


def test_a_log_that_grows_is_archived_and_read() -> None:
    found = bench("growth", "--actions", "1000")

    assert found.keys() == {"actions", "segments", "broker_rss_mb", "restart_s", "read_old_p50_ms"}
    assert found["actions"] == 1000
    assert found["segments"] >= 2
    assert 0 < found["restart_s"] < 10
    assert 0 < found["read_old_p50_ms"]
