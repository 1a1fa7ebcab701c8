"""The benchmarks of policies measure what they say."""

from contextlib import chdir
from pathlib import Path

import pytest

from dominie_bench import backtest, decision


def test_decisions_are_measured_on_the_calls_of_agentdojo() -> None:
    found = decision.run(50, 1, lambda text: None)
    assert (found["policies"], found["calls"]) == (50, 339)
    assert 0.5 < float(str(found["hit_rate"])) < 1
    assert float(str(found["cached_p50_us"])) < float(str(found["p50_us"]))


@pytest.mark.timeout(180)
def test_a_backtest_says_how_a_live_run_will_go(tmp_path: Path) -> None:
    with chdir(tmp_path):
        found = backtest.run(120, lambda text: None)
    assert int(str(found["decisions"])) >= 120
    assert (found["same_set_changes"], found["changed_set_mismatches"], found["undecidable"]) == (0, 0, 0)
    assert int(str(found["changed_set_changes"])) > 30
