"""`dominie limits`: what calls share, and what runs may spend, side by side."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie.commands import register
from dominie.testing import House
from dominie_contracts import Invalid, Unavailable
from dominie_contracts.guardrail import Limits, LimitUse, ListLimits
from dominie_contracts.scheduler import Ceilings, CeilingUse, ListCeilings

DAY = LimitUse(
    policy="daily",
    counts="amount",
    most=50_000,
    per="user",
    within="day",
    why="enough",
    whom="u-dana",
    window="2026-07-02",
    used=9_000,
    left=41_000,
    resets_s=60,
)
RUN = CeilingUse(run="r-1", agent="a-desk", user="u-dana", may_usd=5, spent_usd=1.25, under_way=2)
DEAR = CeilingUse(run="r-2", agent="a-desk", user="u-dana", may_usd=5, spent_usd=None, under_way=0)


def run(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, ["limits", *arguments])


@pytest.fixture
def house(project: Path, open_house: House) -> House:
    def limits(command: ListLimits, _: object) -> Limits:
        if command.policy not in (None, "daily"):
            raise Invalid("no such policy")
        return Limits(limits=(DAY,), more=3)

    def ceilings(command: ListCeilings, _: object) -> Ceilings:
        found = [each for each in (RUN, DEAR) if each.run.startswith(command.run or "")]
        return Ceilings(ceilings=tuple(found[: command.most]), more=len(found[command.most :]))

    open_house.on(ListLimits, limits)
    open_house.on(ListCeilings, ceilings)
    return open_house


def words(text: str, first: str) -> list[str]:
    """The line that begins so, in words."""
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


def test_runs_stand_below_the_limits(house: House) -> None:
    shown = run("list")
    assert words(shown.stdout, "daily")[:5] == ["daily", "user,", "day", "u-dana", "9,000"]
    assert words(shown.stdout, "r-1") == ["r-1", "a-desk", "u-dana", "$1.25", "$3.75", "$5.00", "2"]
    assert words(shown.stdout, "r-2") == ["r-2", "a-desk", "u-dana", "unknown", "$0", "$5.00"]
    assert shown.stderr.splitlines() == ["3 more limits; --limit shows them."]
    assert "1 more runs" in run("list", "--limit", "1").stderr


@pytest.mark.parametrize(
    ("arguments", "limits", "runs"),
    [(["list"], ["daily"], ["r-1", "r-2"]), (["show", "daily"], ["daily"], []), (["show", "r-2"], [], ["r-2"])],
    ids=["all", "a policy", "a run"],
)
def test_json_has_both_whatever_is_asked(
    house: House, arguments: Sequence[str], limits: list[str], runs: list[str]
) -> None:
    found: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    assert [each["policy"] for each in found["limits"]] == limits
    assert [each["run"] for each in found["runs"]] == runs


def test_one_of_each_is_shown_by_its_name(house: House) -> None:
    assert "It limits the sum of amounts" in run("show", "daily").stderr
    assert words(run("show", "r-1").stdout, "r-1")[3] == "$1.25"
    unknown = run("show", "x")
    assert unknown.exit_code == 1 and isinstance(unknown.exception, Invalid) and "no run" in unknown.exception.detail


def test_the_developer_may_be_named(house: House) -> None:
    assert run("list", "--as", "dev").exit_code == 0
    assert {asked.subject.principal for asked in house.asked} == {"u-dev"}


def test_limits_are_shown_while_the_scheduler_is_away(house: House) -> None:
    def away(command: ListCeilings, _: object) -> Ceilings:
        raise Unavailable("the scheduler is not running", retry_after_s=99)

    house.on(ListCeilings, away)
    found = run("list", "--json")
    assert (json.loads(found.stdout)["runs"], "scheduler is not running" in found.stderr) == (None, True)
