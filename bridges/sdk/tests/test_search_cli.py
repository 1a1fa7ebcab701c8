"""Events are found by what people type."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie.commands import register
from dominie.testing import House
from dominie_contracts.audit import Entries, Entry, Search

pytestmark = pytest.mark.usefixtures("project")


def run(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["audit", "search", *arguments])


def asked(house: House, *arguments: str) -> Any:
    """What the house is asked for."""
    assert run(*arguments).exit_code == 0
    return house.commands(Search)[-1].command


def entry(position: int) -> Entry:
    return Entry(
        position=position,
        stream="acme.tool.x",
        version=1,
        type="tool.requested.v1",
        time="2026-11-21T03:06:53.685Z",
        agent="a-desk",
        user="u-dana",
        run="r1",
        summary="refund() asked\x1b[2J",
        data={},
    )


@pytest.fixture
def house(open_house: House) -> House:
    """It finds two events, and says that there are more where it is asked for two."""
    found = (entry(7), entry(512))
    open_house.on(Search, lambda command, _: Entries(entries=found, truncated=command.limit == 2))
    return open_house


def test_all_that_is_given_is_asked_for(house: House) -> None:
    who = ("--agent", "desk", "--user", "dana", "--run", "r1", "--tool", "refund", "--type", "tool.decided")
    how = ("--decision", "ask", "--policy", "large", "--cost-over", "0.1", "--cost-under", "2", "--text", "A1 late")
    when = ("--since", "2026-11-21", "--until", "2026-11-21T09:30:00+02:00")
    where = ("--limit", "9", "--after", "1", "--before", "99", "--earliest")
    assert asked(house, *who, *how, *when, *where) == Search(
        agent="a-desk",
        user="u-dana",
        run="r1",
        tool="refund",
        type="tool.decided",
        decision="ask",
        policy="large",
        cost_over=0.1,
        cost_under=2.0,
        text="A1 late",
        since=datetime(2026, 11, 21, tzinfo=UTC),
        until=datetime(2026, 11, 21, 7, 30, tzinfo=UTC),
        limit=9,
        after=1,
        before=99,
        earliest=True,
    )
    assert asked(house) == Search()


@pytest.mark.parametrize(("ago", "hours"), [("90m", 1.5), ("2h", 2), ("7d", 168), ("1w", 168), ("0s", 0)])
def test_a_time_may_be_how_long_ago(house: House, ago: str, hours: float) -> None:
    since = asked(house, "--since", ago).since
    assert abs(datetime.now(UTC) - since - timedelta(hours=hours)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--since", "yesterday"), "'yesterday' is no time"),
        (("--until", ""), "'' is no time"),
        (("--since", "999999999w"), "is no time"),
        (("--cost-over", "inf"), "--cost-over"),
        (("--text", "a" * 501), "--text"),
        (("--user", "no body"), "no body"),
        (("--agent", ""), "'a-'"),
    ],
)
def test_what_cannot_be_asked_for_is_refused_before_anybody_is_asked(
    house: House, arguments: tuple[str, ...], said: str
) -> None:
    found = run(*arguments)
    assert said in str(found.exception)
    assert type(found.exception).__name__ == "Invalid"
    assert house.commands(Search) == []


def test_events_are_lines_with_their_places(house: House, tmp_path: Path) -> None:
    lines = run().stdout.splitlines()
    assert [line.split()[:4] for line in lines] == [
        ["7", "2026-11-21", "03:06:53", "a-desk"],
        ["512", "2026-11-21", "03:06:53", "a-desk"],
    ]
    assert "\x1b" not in run().stdout
    assert [line.split()[0] for line in run("--newest-first").stdout.splitlines()] == ["512", "7"]
    assert [each["position"] for each in json.loads(run("--json").stdout)["entries"]] == [7, 512]


def test_it_says_how_to_go_on(house: House) -> None:
    assert run().stderr == ""
    assert "the same with --before 7." in run("--limit", "2").stderr
    assert "the same with --earliest --after 512." in run("--limit", "2", "--earliest").stderr
    house.on(Search, lambda command, _: Entries(entries=()))
    assert run().stderr == "Nothing fits.\n"
