"""The command line against a tiny house: data on standard output, prose on standard error."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from dominie import Forbidden, Invalid
from dominie._processes import Process, record
from dominie.answers import read_answer
from dominie.commands import register
from dominie.keys import KeyPair
from dominie.merkle import leaf_hash
from dominie.notes import Checkpoint, Signer
from dominie.testing import House
from dominie_contracts import Grants
from dominie_contracts.action import Ask
from dominie_contracts.audit import (
    Entries,
    Entry,
    GetCheckpoint,
    InclusionProof,
    ListRuns,
    LogReport,
    Prove,
    Runs,
    RunView,
    Search,
    SignedCheckpoint,
    Trail,
    VerifyLog,
)
from dominie_contracts.guardrail import Answered, Approvals, ApprovalView, Approve, ListApprovals
from dominie_contracts.identity import (
    Done,
    ListPrincipals,
    Principals,
    PrincipalView,
    Register,
    Resume,
    Revoke,
    Suspend,
)
from dominie_contracts.keys import ApiKey, IssueApiKey
from dominie_contracts.tool import ListTools, RegisteredTool, RegisterTool, Tools, ToolSpec

TOOLS = '''
import dominie

@dominie.tool(effect="read")
def lookup(order: str) -> str:
    """Look an order up."""
    return order

@dominie.tool(kind="sandboxed")
def add(a: int, b: int) -> int:
    return a + b
'''


def run(*arguments: str) -> Result:
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(arguments))


def data(*arguments: str) -> dict[str, Any]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def principal(name: str = "a-desk", nkey: str = "U1") -> PrincipalView:
    return PrincipalView(
        tenant="acme",
        principal=name,
        nkey=nkey,
        sponsor="u-dev",
        grants=Grants(tools=("refund",)),
        users=("u-dev",),
        groups=(),
        revoked=False,
    )


BIG = Ask(policy="big", group="finance", why="more than $50", digest="1")
RISK = Ask(policy="odd", group="risk", why="odd", quorum=2)


def waiting(action: str = "a1b2c3") -> ApprovalView:
    return ApprovalView(
        action=action,
        tenant="acme",
        category="tool",
        agent="a-desk",
        user="u-dana",
        run="r1",
        command="tool.invoke",
        resource="refund",
        arguments={"cents": 9000, "note": "\x1b[31mred"},
        labels={"/note": "untrusted"},
        asks=(BIG,),
        left=(BIG,),
        digest="d" * 64,
        status="pending",
        expires_ms=1_900_000_000_000,
    )


def entry() -> Entry:
    return Entry(
        position=7,
        stream="acme.tool.x",
        version=1,
        type="tool.requested.v1",
        time="2026-11-21T03:06:53.685Z",
        agent="a-desk",
        user="u-dana",
        run="r1",
        summary="refund(cents=9000) asked",
        data={},
    )


def test_version_is_said() -> None:
    assert set(data("version")) == {"dominie", "python"}
    assert run("version").stdout.startswith("dominie ")


def test_an_agent_is_registered_with_its_rights(project: Path, open_house: House) -> None:
    open_house.on(Register, lambda command, asked: principal(command.principal, command.nkey))
    found = data("agent", "register", "desk", "--tool", "refund", "--model", "auto", "--user", "dana")
    asked = open_house.commands(Register)[0]
    assert asked.subject.principal == "u-dev"
    assert asked.command.grants == Grants(tools=("refund",), models=("auto",), namespaces=("*",))
    assert asked.command.users == ("u-dana",)
    seed = Path(found["seed_file"])
    assert KeyPair.load(seed).public == asked.command.nkey and seed.is_relative_to(project)


def test_agents_are_listed_revoked_and_given_keys(project: Path, open_house: House) -> None:
    open_house.on(ListPrincipals, lambda command, asked: Principals(principals=(principal(),)))
    open_house.on(Revoke, lambda command, asked: Done())
    open_house.on(IssueApiKey, lambda command, asked: ApiKey(key="dk_1", id="k1"))
    assert [p["principal"] for p in data("agent", "list")["principals"]] == ["a-desk"]
    assert "a-desk" in run("agent", "list").stdout
    assert data("agent", "revoke", "desk", "--reason", "left") == {"revoked": "a-desk"}
    open_house.on(Suspend, lambda command, asked: Done())
    open_house.on(Resume, lambda command, asked: Done())
    assert data("agent", "suspend", "desk", "--reason", "odd") == {"suspended": "a-desk"}
    assert open_house.commands(Suspend)[0].command.reason == "odd"
    assert "dominie agent resume a-desk" in run("agent", "suspend", "desk").stdout
    assert data("agent", "resume", "desk") == {"resumed": "a-desk"}
    held = principal().model_copy(update={"suspended": "by warden: it flooded"})
    open_house.on(ListPrincipals, lambda command, asked: Principals(principals=(held,)))
    assert "suspended by warden: it flooded" in run("agent", "list").stdout
    shown = run("agent", "key", "desk")
    assert shown.stdout == "dk_1\n" and "k1" in shown.stderr
    assert open_house.commands(IssueApiKey)[0].command.user == "u-dev"


def listed(*views: ApprovalView) -> Callable[[ListApprovals, object], Approvals]:
    """Guardrail, of which these are asked."""

    def answer(command: ListApprovals, asked: object) -> Approvals:
        return Approvals(approvals=tuple(view for view in views if view.action.startswith(command.action)))

    return answer


def test_of_a_widening_an_approver_sees_exactly_what_would_be_added(project: Path, open_house: House) -> None:
    tools = {"tools": ["refund", "mail"], "now_tools": ["read", "find"], "models": ["auto"], "now_models": []}
    more = {**tools, "max_cost_usd": 9.0, "now_usd": 5.0, "reason": "it came broken"}
    asked = waiting().model_copy(
        update={"category": "widening", "command": "run.widen", "resource": None, "arguments": more}
    )
    open_house.on(ListApprovals, lambda command, _: Approvals(approvals=(asked,)))
    open_house.on(Trail, lambda command, _: Entries(entries=()))
    shown = run("approvals", "show", "a1").stdout
    for said in (
        "more than its run was let",
        "refund, mail, beside read, find",
        "auto; it has none",
        "$9.00 in all instead of $5.00",
        '"it came broken"',
    ):
        assert said in shown
    assert "more: tools refund, mail" in run("approvals", "list").stdout


def test_approvals_are_shown_and_answered_by_an_approver(project: Path, open_house: House) -> None:
    def no_trail(command: Trail, asked: object) -> Entries:
        raise Forbidden("not for you")

    open_house.on(ListApprovals, listed(waiting(), waiting("ffff")))
    open_house.on(Trail, no_trail)
    open_house.on(Approve, lambda command, asked: Answered(left=() if command.decision == "deny" else (RISK,)))
    assert [a["action"] for a in data("approvals", "list")["approvals"]] == ["a1b2c3", "ffff"]
    shown = run("approvals", "show", "a1")
    assert "9000" in shown.stdout and "more than $50" in shown.stdout and "untrusted" in shown.stdout
    assert "\x1b" not in shown.stdout and "auditors" in shown.stderr
    approved = data("approvals", "approve", "a1", "--note", "fine")
    assert (approved["decision"], [ask["group"] for ask in approved["left"]]) == ("grant", ["risk"])
    assert "It still waits for 2 of risk." in run("approvals", "approve", "a1").stdout
    assert run("approvals", "deny", "ff").stdout.startswith("u-finance denied refund(")
    grant, _, deny = open_house.commands(Approve)
    assert (grant.subject.principal, grant.command.digest, grant.command.note) == ("u-finance", "d" * 64, "fine")
    assert (deny.command.action, deny.command.decision) == ("ffff", "deny")
    key = KeyPair.load(project.parent / "keys" / "people" / "u-finance.seed").public
    claims = read_answer(grant.command.proof, key)
    assert (claims.action, claims.digest, claims.asks, claims.decision) == ("a1b2c3", "d" * 64, ("big@1",), "grant")


def test_whose_list_it_is_is_said_and_who_has_no_key_is_told(project: Path, open_house: House) -> None:
    open_house.on(ListApprovals, listed())
    assert run("approvals", "list").stdout.strip() == "Nothing waits for u-finance."
    for who, why in (("dev", "where agents can read it"), ("erin", "approvals enrol erin --group")):
        refused = run("approvals", "list", "--as", who)
        assert isinstance(refused.exception, Invalid) and why in refused.exception.detail
    assert len(open_house.commands(ListApprovals)) == 1


def test_an_auditor_sees_the_run_beside_the_approval(project: Path, open_house: House) -> None:
    open_house.on(ListApprovals, lambda command, asked: Approvals(approvals=(waiting(),)))
    open_house.on(Trail, lambda command, asked: Entries(entries=(entry(),)))
    assert [e["position"] for e in data("approvals", "show", "a1")["trail"]] == [7]


def test_an_action_that_is_not_clear_is_not_answered(project: Path, open_house: House) -> None:
    open_house.on(ListApprovals, listed(waiting("a1"), waiting("a2")))
    for action, said in (("a", "several"), ("b", "no action")):
        assert said in str(run("approvals", "approve", action).exception)
    assert not open_house.commands(Approve)


def test_of_what_is_too_large_or_too_many_the_list_says_so(project: Path, open_house: House) -> None:
    large = waiting().model_copy(update={"arguments": {}, "whole": False})
    open_house.on(ListApprovals, lambda command, asked: Approvals(approvals=(large,), more=7))
    told = run("approvals", "list")
    assert "`show` has them" in told.stdout and "7 more" in told.stderr
    assert data("approvals", "list")["more"] == 7
    assert "several actions" in str(run("approvals", "approve", "a1").exception)


def test_a_long_call_is_clipped_in_a_line_and_whole_where_it_is_shown(project: Path, open_house: House) -> None:
    long = waiting().model_copy(update={"arguments": {"text": "xyz" * 1000}})
    open_house.on(ListApprovals, listed(long))
    open_house.on(Trail, lambda command, asked: Entries(entries=()))
    open_house.on(Approve, lambda command, asked: Answered(left=()))
    told = run("approvals", "approve", "a1").stdout
    assert "…" in told and told.count("xyz") < 100
    assert run("approvals", "show", "a1").stdout.count("x") >= 1000


def test_nobody_answers_what_was_not_shown_whole(project: Path, open_house: House) -> None:
    large = waiting().model_copy(update={"arguments": {}, "whole": False})
    open_house.on(ListApprovals, lambda command, asked: Approvals(approvals=(large,)))
    for command in ("approve", "deny"):
        assert "too large for a list" in str(run("approvals", command, "a1").exception)
    assert not open_house.commands(Approve)


def test_an_approvers_key_can_be_elsewhere(
    project: Path, open_house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_house.on(ListApprovals, lambda command, asked: Approvals(approvals=()))
    (tmp_path / "mine").write_text(KeyPair.generate().seed)
    data("approvals", "list", "--as", "pat", "--key", str(tmp_path / "mine"))
    monkeypatch.setenv("DOMINIE_APPROVER_SEED_FILE", str(tmp_path / "mine"))
    data("approvals", "list", "--as", "kim")
    assert [a.subject.principal for a in open_house.commands(ListApprovals)] == ["u-pat", "u-kim"]
    monkeypatch.delenv("DOMINIE_APPROVER_SEED_FILE")
    assert "u-nobody.seed" in str(run("approvals", "list", "--as", "nobody").exception)


def test_the_log_is_verified_searched_and_traced(project: Path, open_house: House) -> None:
    open_house.on(VerifyLog, lambda command, asked: LogReport(ok=True, events=9, streams=3))
    open_house.on(Search, lambda command, asked: Entries(entries=(entry(),)))
    open_house.on(Trail, lambda command, asked: Entries(entries=(entry(),) if command.run == "r1" else ()))
    assert data("audit", "verify")["events"] == 9
    assert (
        data("audit", "search", "--agent", "desk", "--user", "dana", "--decision", "deny")["entries"][0]["run"] == "r1"
    )
    command = open_house.commands(Search)[0].command
    assert (command.agent, command.user, command.decision) == ("a-desk", "u-dana", "deny")
    assert "refund(cents=9000) asked" in run("trace", "r1").stdout
    assert "dominie ps" in str(run("trace", "r2").exception)


def test_a_run_is_replayed_page_by_page(project: Path, open_house: House) -> None:
    asked = entry().model_copy(
        update={
            "data": {
                "command": "tool.invoke",
                "resource": "refund",
                "key": "k",
                "arguments": {"cents": 9000},
                "digest": "d",
                "deadline_ms": 1,
            }
        }
    )
    done = entry().model_copy(
        update={
            "position": 8,
            "type": "tool.finished.v1",
            "data": {"outcome": "ok", "result": "re_1\x1b[2J", "duration_ms": 1.5},
        }
    )
    pages = {0: Entries(entries=(asked,), truncated=True), 7: Entries(entries=(done,))}
    open_house.on(Trail, lambda command, _: pages[command.after] if command.run == "r1" else Entries(entries=()))
    whole = data("replay", "r1")
    assert (whole["after"], whole["events"], whole["status"], len(whole["steps"])) == (2, 2, "finished", 2)
    assert [(deed["resource"], deed["result"]) for deed in whole["deeds"]] == [("refund", "re_1\x1b[2J")]
    first = data("replay", "r1", "--until", "1")
    assert (first["status"], first["deeds"][0]["status"], first["deeds"][0]["result"]) == ("running", "requested", None)
    told = run("replay", "r1").stdout
    assert "refund(cents=9000)" in told and "re_1" in told and "\x1b" not in told
    assert "has 2 events, not 3" in str(run("replay", "r1", "--until", "3").exception)
    assert "dominie ps" in str(run("replay", "r2").exception)


def test_a_broken_log_is_exit_code_1(project: Path, open_house: House) -> None:
    broken = LogReport(ok=False, events=9, streams=3, broken_at=7, stream="acme.tool.x", version=2, why="hash")
    open_house.on(VerifyLog, lambda command, asked: broken)
    for arguments in (("audit", "verify"), ("audit", "verify", "--json")):
        assert run(*arguments).exit_code == 1
    assert json.loads(run("audit", "verify", "--json").stdout)["broken_at"] == 7


def test_it_says_what_protects_what(project: Path, open_house: House) -> None:
    reports = iter(
        LogReport(ok=ok, events=9, streams=3, checkpoint=size, durability=durability, why="x")
        for ok, size, durability in (
            (True, None, None),
            (True, 9, "fsync"),
            (True, 9, "quorum 3"),
            (True, 7, None),
            (False, 9, "fsync"),
        )
    )
    open_house.on(VerifyLog, lambda command, asked: next(reports))
    for said in (
        "No checkpoint is signed yet",
        "All of them are those of the last signed checkpoint (synced to disk on one node).",
        "checkpoint (agreed on by most of 3 replicas).",
        "the 2 newer are protected by the hash",
        "BROKEN: x",
    ):
        assert said in run("audit", "verify").stdout


def test_a_proof_is_asked_for_and_checked_elsewhere(project: Path, open_house: House, tmp_path: Path) -> None:
    signer = Signer("dominie/test", b"k" * 32)
    checkpoint = signer.sign(Checkpoint(signer.name, 1, leaf_hash(b"one")).text)
    proof = InclusionProof(position=7, index=0, raw="b25l", proof=(), checkpoint=checkpoint)
    open_house.on(Prove, lambda command, asked: proof)
    file, key = str(tmp_path / "proof.json"), str(signer.verifier)
    assert json.loads(run("audit", "prove", "7").stdout) == proof.model_dump(mode="json")
    assert file in run("audit", "prove", "7", "--out", file).stderr
    assert data("audit", "check-proof", file, "--key", key)["event"] == "one"
    assert "It holds" in run("audit", "check-proof", file, "--key", key).stdout
    other = str(Signer(signer.name, b"t" * 32).verifier)
    assert "another log" in str(run("audit", "check-proof", file, "--key", other).exception)
    assert "wrong key" in str(run("audit", "check-proof", file, "--key", "key").exception)


def test_a_checkpoint_is_shown_with_its_key_and_what_it_extends(
    project: Path, open_house: House, tmp_path: Path
) -> None:
    signer = Signer("dominie/test", b"k" * 32)
    first, other = (signer.sign(Checkpoint(signer.name, 1, leaf_hash(text)).text) for text in (b"one", b"0ne"))
    current = SignedCheckpoint(checkpoint=first, key=str(signer.verifier))
    open_house.on(GetCheckpoint, lambda command, asked: current)
    assert run("audit", "checkpoint").stdout == first
    assert run("audit", "checkpoint", "--key").stdout == f"{signer.verifier}\n"
    (tmp_path / "old").write_text(first)
    extends = ("audit", "checkpoint", "--extends", str(tmp_path / "old"))
    assert data(*extends)["checkpoint"] == first
    assert [asked.command.extends for asked in open_house.commands(GetCheckpoint)] == [None, None, 1]
    (tmp_path / "old").write_text(other)
    assert "its history was changed" in str(run(*extends).exception)
    (tmp_path / "old").write_bytes(b"\xff")
    assert "no checkpoint" in str(run(*extends).exception)


def test_tools_are_added_and_listed(project: Path, open_house: House) -> None:
    (project / "my_tools.py").write_text(TOOLS)
    spec = ToolSpec(name="lookup", input_schema={"type": "object"}, effect="read", description="Look up.")
    open_house.on(RegisterTool, lambda c, asked: RegisteredTool(name=c.spec.name, version="1", changed=True))
    open_house.on(ListTools, lambda command, asked: Tools(tools=(spec,)))
    assert data("tool", "add", "my_tools.py") == {"tools": [{"name": "add", "version": "1", "changed": True}]}
    added = open_house.commands(RegisterTool)[0].command.spec
    assert (added.kind, added.function, added.source) == ("sandboxed", "add", TOOLS)
    assert data("tool", "list")["tools"][0]["name"] == "lookup"
    assert "Look up." in run("tool", "list").stdout
    for file, said in (("none.py", "no Python file"), ("dev.txt", "no Python file")):
        assert said in str(run("tool", "add", file).exception)


def test_a_file_that_does_not_load_says_why(project: Path) -> None:
    (project / "bad_tools.py").write_text("1 / 0")
    (project / "no_tools.py").write_text("x = 1")
    assert "ZeroDivisionError" in str(run("tool", "add", "bad_tools.py").exception)
    assert "no @dominie.tool" in str(run("tool", "add", "no_tools.py").exception)


def test_ps_shows_processes_and_runs(project: Path, open_house: House) -> None:
    view = RunView(
        run="r1",
        agent="a-desk",
        user="u-dana",
        started="2026-11-21T03:06:53Z",
        last="2026-11-21T03:06:54Z",
        events=7,
        cost_usd=0.01,
        status="finished",
    )
    open_house.on(ListRuns, lambda command, asked: Runs(runs=(view,)))
    stale = Process(agent="a-old", pid=os.getpid(), command=("x",), started="2026", born=1)
    path = record(project / ".dominie", stale)
    assert data("ps") == {"processes": [], "runs": [view.model_dump(mode="json")]}
    assert "r1" in run("ps").stdout and path.exists()
