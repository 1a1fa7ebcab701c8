"""The cases that a folder of policies carries, and `dominie policy test`, which decides them."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from dominie_contracts.tool import ToolSpec
from dominie_kit.handler_testing import PERMIT_ALL
from dominie_kit.policy.cases import BadCase, read_cases
from dominie_kit.policy.commands import register

TOOL = ToolSpec(
    name="refund",
    input_schema={
        "type": "object",
        "properties": {
            "cents": {"type": "integer", "x-dominie": {"role": "amount"}},
            "to": {"type": "string", "x-dominie": {"role": "recipient"}},
        },
    },
)
POLICIES = (
    PERMIT_ALL
    + """
@id("large") @ask("finance") @why("over 50")
forbid (principal, action == Action::"refund", resource) when { context has amount && context.amount > 50 };
@id("stranger")
forbid (principal, action, resource) when { context has recipient && context.untrusted.contains("recipient") };
@id("night")
forbid (principal, action, resource) when { context.now.toTime() < duration("6h") };
@id("endorsing")
permit (principal, action == Action::"labels.endorse", resource)
when { context.groups.contains("finance") && context.becomes <= 3 && context.scope == "run" };
"""
)
CASES = """
[[case]]
name = "a small one passes"
tool = "refund"
arguments = { cents = 50 }
now = 2026-11-21T12:00:00Z
expect = "allow"
policies = ["all"]
[[case]]
name = "a large one asks"
tool = "refund"
arguments = { cents = 51 }
now = 2026-11-21T12:00:00Z
expect = "ask"
[[case]]
name = "a stranger gets nothing"
tool = "refund"
arguments = { to = "DE00" }
untrusted = ["to"]
now = 2026-11-21T12:00:00Z
expect = "deny"
policies = ["stranger"]
[[case]]
name = "an agent's own recipient gets nothing"
tool = "refund"
arguments = { to = "DE00" }
labels = { to = "agent" }
now = 2026-11-21T12:00:00Z
expect = "deny"
policies = ["stranger"]
[[case]]
name = "the user's own does"
tool = "refund"
arguments = { to = "DE00" }
labels = { to = "user" }
readers = ["DE00"]
now = 2026-11-21T12:00:00Z
expect = "allow"
[[case]]
name = "at night nothing happens"
model = "auto"
now = 2026-11-21T05:59:59Z
expect = "deny"
[[case]]
name = "outside of the plan"
tool = "refund"
lacks = "times"
now = 2026-11-21T06:00:00Z
expect = "deny"
[[case]]
name = "inside of it"
tool = "refund"
lacks = "nothing"
now = 2026-11-21T06:00:00Z
expect = "allow"
[[case]]
name = "a run that asks for more"
widen = { tools = ["refund"] }
max_cost_usd = 9.5
now = 2026-11-21T06:00:00Z
expect = "ask"
[[case]]
name = "who may say that it is good"
endorse = { groups = ["finance"] }
now = 2026-11-21T06:00:00Z
expect = "allow"
policies = ["endorsing"]
[[case]]
name = "a permit of everything is none of this"
endorse = { groups = ["staff"] }
now = 2026-11-21T06:00:00Z
expect = "deny"
[[case]]
name = "nor is it for a session"
endorse = { groups = ["finance"], scope = "session" }
now = 2026-11-21T06:00:00Z
expect = "deny"
[[case]]
name = "notes by day"
namespace = "desk"
now = 2026-11-21T06:00:00Z
expect = "allow"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.cedar").write_text(POLICIES)
    (tmp_path / "tools.json").write_text(json.dumps({"tools": [TOOL.model_dump()]}))
    (tmp_path / "cases.toml").write_text(CASES)
    return tmp_path


def run(folder: Path, *more: str) -> tuple[int, str, str]:
    app = typer.Typer()
    register(app)
    done = CliRunner().invoke(app, ["policy", "test", str(folder), "--folder", str(folder), *more])
    return done.exit_code, done.stdout, done.stderr


def test_cases_that_hold(folder: Path) -> None:
    code, told, _ = run(folder, "--json")
    found = json.loads(told)
    assert (code, found["ok"], [each["ok"] for each in found["cases"]]) == (0, True, [True] * 13)
    assert found["unproven"] == []
    assert run(folder)[1].splitlines()[-1] == "13 of 13 cases hold."


def test_a_case_that_does_not_hold_is_told_with_its_reason(folder: Path) -> None:
    (folder / "a.cedar").write_text(POLICIES.replace("amount > 50", "amount > 51"))
    code, told, said = run(folder)
    assert code == 1
    assert "FAIL a large one asks: expected ask, got allow by all" in told
    assert "No case is decided by large." in said


def test_the_right_decision_by_another_policy_does_not_hold(folder: Path) -> None:
    (folder / "a.cedar").write_text(POLICIES.replace('"stranger"', '"other"'))
    assert run(folder)[0] == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('tool = "refund"', 'tool = "refnd"', "no tool 'refnd'"),
        ('untrusted = ["to"]', 'untrusted = ["from"]', "no argument with a role called from"),
        ('labels = { to = "user" }', 'labels = { to = "users" }', "labels"),
        ('labels = { to = "user" }', 'labels = { from = "user" }', "no argument with a role called from"),
        ("cents = 51", "cents = -1", "whole number"),
        ('expect = "ask"', 'expect = "maybe"', "expect"),
        ('expect = "ask"', "", "expect"),
        ('expect = "ask"', 'expect = "ask"\ncolour = "red"', "colour"),
        ('model = "auto"', 'model = "auto"\ntool = "refund"', "name one of"),
        ('lacks = "times"', 'lacks = "time"', "lacks"),
        ("max_cost_usd = 9.5", "max_cost_usd = -1", "max_cost_usd"),
        ("max_cost_usd = 9.5", 'model = "auto"', "name one of"),
        ('scope = "session"', 'to = "untrusted"', "endorse"),
        ("[[case]]", "[[cases]]", "something else"),
        ("[[case]]", "[[case", "cannot be read"),
    ],
)
def test_a_case_that_cannot_be_asked_is_refused(folder: Path, old: str, new: str, said: str) -> None:
    (folder / "cases.toml").write_text(CASES.replace(old, new))
    code, told, why = run(folder, "--json")
    assert (code, told) == (1, "")
    assert said in why


def test_a_folder_without_cases_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCase, match="write one"):
        read_cases(tmp_path)
