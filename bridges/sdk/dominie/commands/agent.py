"""`dominie agent register | list | suspend | resume | rotate | revoke | key`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say, table

if TYPE_CHECKING:
    from dominie_contracts.identity import PrincipalView

Name = Annotated[str, typer.Argument(metavar="NAME", help="The agent: NAME or a-NAME (w-NAME is a tool worker).")]


def register(app: typer.Typer) -> None:
    """Add `agent`."""
    agents = typer.Typer(help="Agents and tool workers, and what they may use.", no_args_is_help=True)
    agents.command("register")(register_agent)
    agents.command("list")(list_agents)
    agents.command("suspend")(suspend)
    agents.command("resume")(resume)
    agents.command("rotate")(rotate)
    agents.command("revoke")(revoke)
    agents.command("key")(key)
    app.add_typer(agents, name="agent")


def register_agent(
    name: Name,
    tool: Annotated[list[str] | None, typer.Option(help="A tool it may call; none given: all.")] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model it may use; none given: all.")] = None,
    namespace: Annotated[list[str] | None, typer.Option(help="A memory namespace; none given: all.")] = None,
    user: Annotated[list[str] | None, typer.Option(help="Who lets it act for them; none given: you.")] = None,
    nkey: Annotated[str | None, typer.Option(help="Its public key, where it keeps the seed itself.")] = None,
    keyless: Annotated[bool, typer.Option("--keyless", help="It has no key: its cluster vouches for it.")] = False,
    json: Json = False,
) -> None:
    """Register an agent, or give a registered one other rights."""
    from dominie._config import as_user
    from dominie._project import Project
    from dominie.commands._people import agent_principal, developer
    from dominie.keys import KeyPair
    from dominie_contracts import Grants
    from dominie_contracts.identity import PrincipalView, Register
    from dominie_contracts.token import EVERYTHING

    principal = agent_principal(name)
    seed: Path | None = None
    if keyless:
        nkey = KeyPair.generate().public
    if nkey is None:
        project = Project.find()
        nkey = project.agent_credentials(principal)[0].keys.public
        seed = project.seed_path(principal)
    grants = Grants(
        tools=tuple(tool or (EVERYTHING,)),
        models=tuple(model or (EVERYTHING,)),
        namespaces=tuple(namespace or (EVERYTHING,)),
    )
    with developer() as client:
        users = tuple(as_user(each) for each in user or (client.agent,)) if principal.startswith("a-") else ()
        command = Register(principal=principal, nkey=nkey, grants=grants, users=users)
        found = client.ask(command, PrincipalView)
    data = {**found.model_dump(mode="json"), "seed_file": str(seed) if seed else None}
    say(data, lambda console: _table(console, [found]), as_json=json)
    if seed and not json:
        note(f"Its key is in {seed}.")


def list_agents(json: Json = False) -> None:
    """Who is registered."""
    from dominie.commands._people import developer
    from dominie_contracts.identity import ListPrincipals, Principals

    with developer() as client:
        found = client.ask(ListPrincipals(), Principals)
    say(found.model_dump(mode="json"), lambda console: _table(console, found.principals), as_json=json)


def suspend(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    json: Json = False,
) -> None:
    """Stop an agent until it is resumed."""
    from dominie.commands._people import agent_principal, developer
    from dominie_contracts.identity import Done, Suspend

    principal = agent_principal(name)
    with developer() as client:
        client.ask(Suspend(principal=principal, reason=reason), Done)
    words = f"{principal} is suspended; `dominie agent resume {principal}` lifts it."
    say({"suspended": principal}, lambda console: console.print(words), as_json=json)


def resume(name: Name, json: Json = False) -> None:
    """Let an agent that was suspended go on, whoever suspended it."""
    from dominie.commands._people import agent_principal, developer
    from dominie_contracts.identity import Done, Resume

    principal = agent_principal(name)
    with developer() as client:
        client.ask(Resume(principal=principal), Done)
    say({"resumed": principal}, lambda console: console.print(f"{principal} may go on."), as_json=json)


def rotate(
    name: Name,
    overlap: Annotated[str, typer.Option(metavar="TIME", help="How long the old key is taken too: 30m, 2h.")] = "10m",
    nkey: Annotated[str | None, typer.Option(help="Its new public key, where it keeps the seed itself.")] = None,
    json: Json = False,
) -> None:
    """Give an agent another key; programs that run go on."""
    from dominie._project import Project
    from dominie.commands._people import agent_principal, developer
    from dominie.commands._select import span
    from dominie_contracts.identity import PrincipalView, Rotate

    principal, overlap_s = agent_principal(name), int(span(overlap).total_seconds())
    project = Project.find() if nkey is None else None
    public = nkey or (project.next_keys(principal).public if project else "")
    with developer() as client:
        found = client.ask(Rotate(principal=principal, nkey=public, overlap_s=overlap_s), PrincipalView)
    seed = project.rotated(principal) if project else None
    data = {**found.model_dump(mode="json"), "overlap_s": overlap_s, "seed_file": str(seed) if seed else None}
    words = f"{principal} has another key; the one before is taken for {overlap} more."
    say(data, lambda console: console.print(words), as_json=json)


def revoke(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    json: Json = False,
) -> None:
    """Take an agent's identity away, for good."""
    from dominie.commands._people import agent_principal, developer
    from dominie_contracts.identity import Done, Revoke

    principal = agent_principal(name)
    with developer() as client:
        client.ask(Revoke(principal=principal, reason=reason), Done)
    say({"revoked": principal}, lambda console: console.print(f"{principal} is revoked."), as_json=json)


def key(
    name: Name,
    user: Annotated[str | None, typer.Option(help="On whose behalf it is used; none given: yours.")] = None,
    json: Json = False,
) -> None:
    """Issue an API key that stands for an agent, for HTTP clients. It is shown once."""
    from dominie._config import as_user
    from dominie.commands._people import agent_principal, developer
    from dominie_contracts.keys import ApiKey, IssueApiKey

    with developer() as client:
        whom = as_user(user) if user else client.agent
        found = client.ask(IssueApiKey(principal=agent_principal(name), user=whom), ApiKey)
    say(found.model_dump(mode="json"), lambda console: typer.echo(found.key), as_json=json)
    if not json:
        note(f"Key {found.id}, shown this once; `OPENAI_API_KEY` is the place for it.")


def _table(console: object, found: "list[PrincipalView] | tuple[PrincipalView, ...]") -> None:
    from rich.console import Console

    assert isinstance(console, Console)
    rows = [
        (
            each.principal,
            _standing(each),
            each.sponsor or "",
            " ".join(each.users or each.groups),
            " ".join(each.grants.tools),
            " ".join(each.grants.models),
            " ".join(each.grants.namespaces),
        )
        for each in found
    ]
    columns = ("principal", "state", "sponsor", "acts for, or is in", "tools", "models", "namespaces")
    table(console, columns, rows, "Nobody is registered.")


def _standing(view: "PrincipalView") -> str:
    if view.revoked:
        return "revoked"
    return "" if view.suspended is None else f"suspended {view.suspended}".removesuffix(": ")
