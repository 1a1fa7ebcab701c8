"""A page's IBAN is refused; a person endorses it, and it goes, and no other one; `dominie trace` names the person."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import pytest

import dominie
from dominie_contracts.endorsing import Endorse, Endorsement
from dominie_kit.house.system import System

pytestmark = pytest.mark.timeout(240)
WAIT_S = 90.0
IBAN, OTHER = "GB33BUKB20201555555555", "DE89370400440532013000"
TOOLS = f'''
import dominie


@dominie.tool(effect="read")
def browse(url: str) -> dict[str, str]:
    """What stands on a page."""
    return {{"iban": "{IBAN}", "text": "Acme is paid at {OTHER}, or so it says.", "pin": "4711"}}


@dominie.tool(effect="external", roles={{"to": "recipient"}}, integrity="platform")
def transfer(to: str) -> str:
    """Wire money."""
    return "sent to " + to
'''
POLICIES = """
@id("granted") permit (principal, action, resource);
@id("endorsing") permit (principal, action == Action::"labels.endorse", resource)
when { context.groups.contains("finance") };
@id("careful") @ask("finance") @why("for a session two look at it")
forbid (principal, action == Action::"labels.endorse", resource) when { context.scope == "session" };
@id("poisoned") @why("its recipient was made from something that nobody vouches for")
forbid (principal, action in Action::"transfer", resource) when { context.min.recipient < 3 };
"""
ClientOf = Callable[[str], AbstractContextManager[dominie.Client]]


@pytest.fixture(scope="module")
def cli(typed: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., Any]:
    def run(*arguments: object) -> Any:
        done = typed(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="module", autouse=True)
def tools(
    system: System, serve_tools: Callable[[str], AbstractContextManager[None]], cli: Callable[..., Any]
) -> Iterator[None]:
    """A worker with the tools, and the policy that looks at them."""
    folder = system.plan.folder
    with serve_tools(TOOLS):
        (folder / "set").mkdir()
        (folder / "set" / "a.cedar").write_text(POLICIES)
        cli("policy", "publish", "set", "--wait")
        yield


def test_what_a_person_endorses_goes_and_nothing_else_until_they_revoke_it(
    client_of: ClientOf, cli: Callable[..., Any], typed: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    with client_of("payer") as client, client.run(id="p-1") as run:
        page = run.invoke("browse", {"url": "https://acme.example"}).action
        with pytest.raises(dominie.Forbidden, match="nobody vouches"):
            run.invoke("transfer", {"to": IBAN})
        shown = cli("labels", "show", page, "--as", "finance")
        assert [leaf["integrity"] for leaf in shown["leaves"]] == ["untrusted"] * 3
        endorsed = cli("labels", "endorse", page, "--at", "/iban", "--why", "Acme's own letter says so")
        assert (endorsed["by"], endorsed["was"], endorsed["to"]) == ("u-finance", "untrusted", "record")
        assert run.invoke("transfer", {"to": "GB33 BUKB 2020 1555 5555 55"}).result
        with pytest.raises(dominie.Forbidden, match="nobody vouches"):
            run.invoke("transfer", {"to": OTHER})
        with client.run(id="p-2") as other, pytest.raises(dominie.Forbidden, match="nobody vouches"):
            other.invoke("browse", {"url": "https://acme.example"})
            other.invoke("transfer", {"to": IBAN})
        trace = typed("trace", "p-1").stdout
        assert f'u-finance endorsed "{IBAN}" at /iban of tool:{page}' in trace and "Acme's own letter" in trace
        traced = cli("trace", "p-1")["entries"]
        rests = [e["data"]["labels"]["to"] for e in traced if e["type"] == "tool.decided.v1" and e["data"]["labels"]]
        assert {"integrity": "record", "readers": None, "sources": [f"endorsement:{endorsed['id']}"]} in rests
        assert cli("labels", "revoke", endorsed["id"], "--as", "finance")["id"] == endorsed["id"]
        with pytest.raises(dominie.Forbidden, match="nobody vouches"):
            run.invoke("transfer", {"to": IBAN.lower()})


def test_what_is_noted_of_a_page_is_endorsed_wherever_it_is_recalled(
    client_of: ClientOf, cli: Callable[..., Any]
) -> None:
    with client_of("reader") as client, client.run(id="n-1") as run:
        run.invoke("browse", {"url": "https://acme.example"})
        note = run.remember(f"Acme is paid at {OTHER}")
    with client_of("payer") as client, client.run(id="n-2") as run:
        assert run.recall("how is Acme paid?")[0].label.integrity == "untrusted"
        with pytest.raises(dominie.Forbidden, match="nobody vouches"):
            run.invoke("transfer", {"to": OTHER})
        endorsed = cli("labels", "endorse", note, "--value", OTHER, "--why", "rang them up")
        assert (endorsed["scope"], endorsed["source"]) == ("tenant", f"memory:{note}")
        assert run.invoke("transfer", {"to": OTHER}).result
        with client.run(id="n-3") as other:
            other.invoke("browse", {"url": "https://acme.example"})
            with pytest.raises(dominie.Forbidden, match="nobody vouches"):
                other.invoke("transfer", {"to": OTHER})
        assert cli("labels", "endorse", note, "--why", "and all of it")["whole"]
        until_s = time.monotonic() + WAIT_S
        while run.recall("how is Acme paid?")[0].label.integrity != "record":
            assert time.monotonic() < until_s, "memory never heard of it"


def test_for_a_session_two_people_say_it_and_no_agent_does(
    client_of: ClientOf, cli: Callable[..., Any], typed: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    cli("approvals", "enrol", "carla", "--group", "finance")
    with client_of("payer") as client, client.run(id="s-1", session="t-9") as run:
        page = run.invoke("browse", {"url": "https://acme.example"}).action
        said = Endorse(of=page, pointer="/iban", value=IBAN, note="I say so")
        with pytest.raises(dominie.Problem):
            client.ask(said, Endorsement, timeout_s=1)
        command = ("labels", "endorse", page, "--at", "/iban", "--session", "--why", "their letter")
        waits = typed(*command)
        assert waits.returncode == 1 and "waits for finance" in waits.stderr
        (asked,) = cli("approvals", "list", "--as", "carla")["approvals"]
        assert (asked["agent"], asked["run"], asked["arguments"]["value"]) == ("u-finance", "s-1", IBAN)
        assert typed("approvals", "approve", asked["action"], "--as", "finance").returncode == 1
        cli("approvals", "approve", asked["action"], "--as", "carla")
        assert cli(*command)["id"] == asked["action"]
        with client.run(id="s-2", session="t-9") as later:
            assert later.invoke("transfer", {"to": IBAN}).result
