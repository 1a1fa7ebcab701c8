"""People let agents act for them, and agents get other keys: the command line and the client against a tiny house."""

import json
import time
from pathlib import Path
from typing import Any

import pytest
import typer
from joserfc import jwt
from typer.testing import CliRunner, Result

from dominie import AsyncClient, Credentials, Plan, PlanStep
from dominie._project import Project
from dominie.commands import register
from dominie.keys import KeyPair, public_jwk
from dominie.testing import Asked, House
from dominie_contracts import ApprovalRequired, Grants, headers
from dominie_contracts.identity import Done, PrincipalView, Rotate
from dominie_contracts.memory import AddTurn, Kept
from dominie_contracts.runs import (
    Delegate,
    Delegation,
    Delegations,
    EndDelegation,
    EndRun,
    ExchangeRun,
    ListDelegations,
    MintRunToken,
    RunToken,
    WidenRun,
)
from dominie_contracts.token import SubjectClaims

PLAN = Plan(steps=(PlanStep(tool="refund", fixed={"/order": "A1"}),))
EVERYTHING = Grants(tools=("*",), models=("*",), namespaces=("*",))


def run(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(arguments))


def data(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_a_person_lets_an_agent_act_for_them_and_no_more(project: Path, open_house: House) -> None:
    given = Delegation(agent="a-desk", grants=EVERYTHING, expires_s=1_900_000_000, max_cost_usd=5)
    found = Delegations(delegations=(given,))
    for command in (Delegate, ListDelegations):
        open_house.on(command, lambda command, asked: found)
    open_house.on(EndDelegation, lambda command, asked: Delegations(delegations=()))
    assert data("delegate", "desk", "--for", "2h", "--tool", "refund", "--max-cost-usd", "5") == found.model_dump(
        mode="json"
    )
    (asked,) = open_house.commands(Delegate)
    assert (asked.command.agent, asked.command.max_cost_usd) == ("a-desk", 5)
    assert asked.command.grants == Grants(tools=("refund",), models=("*",), namespaces=("*",))
    assert abs(asked.command.expires_s - time.time() - 7200) < 60
    assert data("delegations")["delegations"][0]["agent"] == "a-desk"
    assert "2030-03-17 17:46 UTC" in run("delegations").stdout
    assert data("delegate", "desk", "--end") == {"delegations": []}
    assert "no agent" in run("delegate", "desk", "--end").stdout


@pytest.mark.parametrize("span", ["", "x", "2", "-2h", "1h30m", "999999999w"])
def test_a_length_of_time_that_is_none_asks_nothing(project: Path, open_house: House, span: str) -> None:
    result = run("delegate", "desk", "--for", span)
    assert result.exit_code != 0 and not open_house.asked


def test_a_subject_token_says_whom_for_what_and_until_when(project: Path, open_house: House) -> None:
    found = data("agent", "token", "desk", "--run", "r-1", "--for", "2d", "--tool", "refund", "--max-cost-usd", "50")
    developer = Project.find(project).developer_credentials()
    claims = SubjectClaims.model_validate(
        jwt.decode(found["token"], public_jwk(developer.keys.public), algorithms=["Ed25519"]).claims
    )
    assert (claims.sub, claims.tenant, claims.may_act.sub, claims.run) == ("u-dev", developer.tenant, "a-desk", "r-1")
    assert claims.until_s == found["until_s"] and abs(claims.until_s - time.time() - 2 * 86400) < 60
    assert [detail.type for detail in claims.authorization_details] == ["dominie", "dominie-ceiling"]
    plain = run("agent", "token", "desk", "--run", "r-1")
    assert plain.stdout.count(".") == 2 and "gets run tokens" in plain.stderr
    assert not open_house.asked


def test_a_subject_token_holds_the_plan_that_its_user_signs(project: Path, open_house: House, tmp_path: Path) -> None:
    file = tmp_path / "plan.json"
    file.write_text(PLAN.model_dump_json())
    found = data("agent", "token", "desk", "--run", "r-1", "--plan", str(file))
    developer = Project.find(project).developer_credentials()
    claims = jwt.decode(found["token"], public_jwk(developer.keys.public), algorithms=["Ed25519"]).claims
    assert SubjectClaims.model_validate(claims).plan == PLAN
    for wrong in ("{}", '{"steps": [{"tool": "t", "most": 0}]}', "plan", ""):
        file.write_text(wrong)
        assert "is no plan" in str(run("agent", "token", "desk", "--run", "r-1", "--plan", str(file)).exception)
    assert "cannot be read" in str(run("agent", "token", "desk", "--run", "r", "--plan", "nowhere").exception)


@pytest.mark.anyio
async def test_a_run_goes_on_with_what_people_allowed(credentials: Credentials, house: House) -> None:
    asked_for: list[str] = []

    def widen(command: WidenRun, asked: Asked) -> RunToken:
        asked_for.append(asked.key)
        if len(asked_for) == 1:
            raise ApprovalRequired("people are asked", action="act")
        return RunToken(token="wider", expires_s=int(time.time()) + 300, run="r1")

    house.on(WidenRun, widen)
    house.on(AddTurn, lambda command, asked: Kept(id="1"))
    async with AsyncClient(credentials=credentials, timeout_s=20) as client:
        async with client.run("dana", id="r1", max_cost_usd=5) as one:
            with pytest.raises(ApprovalRequired):
                await one.widen(tools=["refund"], max_cost_usd=9, reason="why")
            await one.widen(tools=["refund"], max_cost_usd=9, reason="why", wait=30)
            await one.say("hi")
            one._asker._tokens._renew_at_s = 0
            await one.say("hi")
    assert len(set(asked_for)) == 1
    command = house.commands(WidenRun)[0].command
    assert (command.grants, command.max_cost_usd, command.reason) == (Grants(tools=("refund",)), 9, "why")
    assert [asked.headers[headers.TOKEN] for asked in house.commands(AddTurn)] == ["wider", "token-of-r1"]
    assert [asked.command.max_cost_usd for asked in house.commands(MintRunToken)] == [5, 9]


def test_a_run_is_ended(project: Path, open_house: House) -> None:
    open_house.on(EndRun, lambda command, asked: Done())
    assert data("agent", "end-run", "r-1", "--reason", "lost") == {"ended": "r-1"}
    assert open_house.commands(EndRun)[0].command == EndRun(run="r-1", reason="lost")


def test_an_agents_key_is_in_its_place_once_identity_has_answered(project: Path, open_house: House) -> None:
    here = Project.find(project)
    old = here.agent_credentials("a-desk")[0]

    def rotate(command: Rotate, asked: object) -> PrincipalView:
        assert KeyPair.load(here.seed_path("a-desk")).public == old.keys.public
        view = {"tenant": "acme", "principal": "a-desk", "nkey": command.nkey, "sponsor": "u-dev", "groups": ()}
        return PrincipalView.model_validate({**view, "grants": EVERYTHING, "users": ("u-dev",), "revoked": False})

    open_house.on(Rotate, rotate)
    found = data("agent", "rotate", "desk", "--overlap", "30m")
    asked = open_house.commands(Rotate)[0].command
    assert (asked.nkey, asked.overlap_s) == (found["nkey"], 1800)
    assert old.fresh().keys.public == found["nkey"] != old.keys.public
    assert not here.seed_path("a-desk").with_suffix(".next").exists()


@pytest.mark.anyio
async def test_a_users_token_is_shown_once_and_work_is_handed_on(credentials: Credentials, house: House) -> None:
    house.on(ExchangeRun, lambda command, asked: RunToken(token="t", expires_s=2**40, run=command.run))
    house.on(AddTurn, lambda command, asked: Kept(id="1"))
    async with AsyncClient(credentials=credentials, timeout_s=10) as client:
        async with client.run("dana", id="r1", subject_token="signed", max_cost_usd=50, plan=PLAN) as one:
            first = await one.hand_on("helper", max_cost_usd=5)
            one._asker._tokens._renew_at_s = 0
            await one.say("hi")
        async with client.run("dana", id="r1") as again:
            assert await again.hand_on("helper", max_cost_usd=5) == first
            assert await again.hand_on("helper", max_cost_usd=5) != first
            assert await again.hand_on("a-helper", id="mine", grants=Grants(tools=("refund",))) == "mine"
    minted = [asked.command for asked in house.commands(MintRunToken)]
    assert [each.subject_token for each in minted] == ["signed", None, None]
    assert (minted[0].max_cost_usd, minted[0].plan) == (50, PLAN)
    handed = [asked.command for asked in house.commands(ExchangeRun)]
    assert [(each.agent, each.max_cost_usd) for each in handed] == [("a-helper", 5)] * 3 + [("a-helper", None)]
    assert handed[-1].narrow == Grants(tools=("refund",))


def test_a_seed_that_is_gone_or_broken_leaves_the_key_that_was_read(tmp_path: Path) -> None:
    keys, path = KeyPair.generate(), tmp_path / "a.seed"
    mine = Credentials("", "acme", "a-desk", keys, seed_file=path)
    assert mine.fresh() is mine
    path.write_text("SU")
    assert mine.fresh() is mine
    path.write_text(KeyPair.generate().seed)
    assert mine.fresh().keys.public != keys.public
