"""When the log goes on in the next segment, and how an operator has it done."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie_eventstore import SegmentState
from dominie_kit.commands import register
from dominie_kit.house.segments import Limits
from dominie_kit.house.system import System


def state(*, appends: int = 1, size: int = 1, age_s: float = 0.0) -> SegmentState:
    return SegmentState(0, False, appends, size, datetime.now(UTC) - timedelta(seconds=age_s), appends)


@pytest.mark.parametrize(
    ("given", "reached"),
    [
        (state(), False),
        (state(appends=9), False),
        (state(appends=10), True),
        (state(size=99), False),
        (state(size=100), True),
        (state(age_s=60), False),
        (state(age_s=3700), True),
        (SegmentState(0, False, 0, 0, None, 0), False),
    ],
)
def test_whichever_limit_comes_first(given: SegmentState, reached: bool) -> None:
    assert Limits(appends=10, bytes=100, age_s=3600).reached(given) == reached


def test_age_alone_seals_nothing_unless_it_is_set() -> None:
    assert not Limits().reached(state(age_s=10**9))


def dominie(*arguments: object) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.mark.timeout(120)
def test_a_log_under_dominie_up_is_archived_and_read_from_there(tmp_path: Path) -> None:
    """Services start from a log whose first segments are in the archive alone."""
    services = ("identity", "guardrail", "audit")
    keys = tmp_path / "keys"
    with System(tmp_path, services=services, keys=keys):
        where = ("--folder", tmp_path, "--json")
        before = json.loads(dominie("audit", "segments", *where).stdout)
        assert [(each["segment"], each["state"]) for each in before["segments"]] == [(0, "open")]

        done = dominie("audit", "archive", "--now", *where)
        assert json.loads(done.stdout) == {"rolled": True, "archived": 1}
        assert "archiving segment 0" in done.stderr
        again = dominie("audit", "archive", *where)
        assert json.loads(again.stdout) == {"rolled": False, "archived": 0}
    assert (tmp_path / ".dominie/archive/segment/0").exists()
    assert not (tmp_path / ".dominie/nats/jetstream/APP/streams/EVENTS_0").exists()
    with System(tmp_path, services=services, keys=keys):
        after = json.loads(dominie("audit", "segments", "--folder", tmp_path, "--json").stdout)
        assert [each["state"] for each in after["segments"]] == ["archived", "open"]
        assert after["segments"][0]["events"] == before["segments"][0]["appends"]


def test_where_nothing_runs_it_says_so(tmp_path: Path) -> None:
    done = dominie("audit", "segments", "--folder", tmp_path)
    assert done.exit_code == 1
    assert "dominie up" in done.stderr
