"""`dominie mcp add | review | list | show | remove`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from dominie_contracts.servers import Difference, Server, ServerReview, ServerView, Words

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the server is called here.")]
Effects = Annotated[
    list[str] | None, typer.Option("--effect", metavar="TOOL=EFFECT", help="What a tool does: read, write or external.")
]
Roles = Annotated[
    list[str] | None, typer.Option("--role", metavar="TOOL.ARG=ROLE", help="What an argument is to policies.")
]
Hints = Annotated[bool, typer.Option("--trust-hints", help="Take effects from the server's own hints.")]
START_S = 90.0


def register(app: typer.Typer) -> None:
    """Add `mcp`."""
    servers = typer.Typer(help="MCP servers, whose tools agents call.", no_args_is_help=True)
    servers.command("add")(add)
    servers.command("review")(review)
    servers.command("list")(list_servers)
    servers.command("show")(show)
    servers.command("remove")(remove)
    app.add_typer(servers, name="mcp")


def add(
    name: Name,
    command: Annotated[list[str] | None, typer.Argument(metavar="-- COMMAND...", help="What starts it.")] = None,
    url: Annotated[str | None, typer.Option(help="Or where it is served over HTTP: https://…")] = None,
    header: Annotated[
        list[str] | None,
        typer.Option(
            "--header", metavar="'NAME: TEXT'", help="Sent with each request; {secret:NAME} is a kept secret."
        ),
    ] = None,
    read: Annotated[
        list[Path] | None, typer.Option("--read", metavar="PATH", help="What else it may read, beside its program.")
    ] = None,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", metavar="HOST[:PORT]", help="What it may reach while it is called; port 443."),
    ] = None,
    secret: Annotated[
        list[str] | None,
        typer.Option("--secret", metavar="NAME", help="A kept secret, for its requests to http://HOST."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option("--env", metavar="NAME=VALUE", help="A plain value in its environment.")
    ] = None,
    effect: Effects = None,
    role: Roles = None,
    trust_hints: Hints = False,
    json: Json = False,
) -> None:
    """Start a server in a sandbox, or reach it over HTTP, and register its tools as they are now."""
    from dominie.commands._people import developer
    from dominie_contracts.servers import Mounted, MountServer

    reads = tuple(str(path.resolve()) for path in read or [])
    given = {"network": _network(host or [], secret or []), "environment": _environment(env or [])}
    headers = _headers(header or [])
    server = _server(name, command=_command(command or []), reads=reads, url=url, headers=headers, **given)
    words = _words(effect, role, trust_hints)
    with developer() as client:
        done = client.ask(MountServer(server=server, words=words), Mounted, timeout_s=START_S)
    if not json:
        note(f"{name} is {'registered' if done.changed else 'registered already'}.")
    say(done.model_dump(mode="json"), lambda console: _tools(console, done.server), as_json=json)


def review(
    name: Name,
    accept: Annotated[bool, typer.Option("--accept", help="Accept what it is now, without being asked.")] = False,
    digest: Annotated[str | None, typer.Option(help="Accept this and nothing else; `review --json` says it.")] = None,
    effect: Effects = None,
    role: Roles = None,
    trust_hints: Hints = False,
    json: Json = False,
) -> None:
    """What of a server is not as it was accepted; accept it."""
    from dominie.commands._people import developer
    from dominie_contracts.servers import ReviewServer, ServerReview

    words = _words(effect, role, trust_hints) if effect or role or trust_hints else None
    with developer() as client:
        found = client.ask(ReviewServer(name=name), ServerReview, timeout_s=START_S)
        if not json:
            say({}, lambda console: _differences(console, found), as_json=False)
        wanted = found.digest if accept or (not json and digest is None and _asked(found, words)) else digest
        if wanted is not None:
            found = client.ask(ReviewServer(name=name, accept=wanted, words=words), ServerReview, timeout_s=START_S)
    if json:
        say(found.model_dump(mode="json"), lambda console: None, as_json=True)
    elif found.accepted:
        note(f"Accepted: {name} at {found.digest[:12]}.")


def list_servers(json: Json = False) -> None:
    """Which servers there are."""
    from dominie.commands._people import developer
    from dominie_contracts.servers import ListServers, Servers

    with developer() as client:
        found = client.ask(ListServers(), Servers)
    rows = [
        (
            *(each.server.name, _standing(each), len(each.tools), each.by),
            *(each.digest[:12], each.server.transport, each.server.place),
        )
        for each in found.servers
    ]
    columns = ("server", "standing", "tools", "accepted by", "digest", "over", "command or address")
    say(
        found.model_dump(mode="json"),
        lambda console: table(console, columns, rows, "No MCP servers; `dominie mcp add NAME -- COMMAND` adds one."),
        as_json=json,
    )


def show(name: Name, json: Json = False) -> None:
    """One server: its tools, and what is pinned of it."""
    from dominie import Invalid
    from dominie.commands._people import developer
    from dominie_contracts.servers import ListServers, Servers

    with developer() as client:
        servers = client.ask(ListServers(), Servers).servers
    found = next((each for each in servers if each.server.name == name), None)
    if found is None:
        raise Invalid(f"there is no MCP server {name!r}; `dominie mcp list` shows which there are")
    say(found.model_dump(mode="json"), lambda console: _shown(console, found), as_json=json)


def remove(name: Name, json: Json = False) -> None:
    """Remove a server and its tools."""
    from dominie.commands._people import developer
    from dominie_contracts.servers import Unmounted, UnmountServer

    with developer() as client:
        gone = client.ask(UnmountServer(name=name), Unmounted)
    if not json:
        note(f"{name} is removed, with {len(gone.tools)} tools.")
    say(gone.model_dump(mode="json"), lambda console: None, as_json=json)


def _server(name: str, **parts: object) -> "Server":
    from pydantic import ValidationError

    from dominie_contracts import Invalid
    from dominie_contracts.servers import Server

    try:
        return Server.model_validate({"name": name, **parts})
    except ValidationError as error:
        raise Invalid(f"{name!r} cannot be an MCP server: {error.errors()[0]['msg']}") from error


def _command(words: list[str]) -> tuple[str, ...]:
    """A command as the service can run it; a program without a path is found there, on its own `PATH`."""
    first = [_whole(word) if "/" in word else word for word in words[:1]]
    return (*first, *map(_whole, words[1:]))


def _whole(word: str) -> str:
    """A word of a command, a file of this folder by its whole path: the service runs elsewhere."""
    if Path(word).is_file() or ("/" in word and Path(word).exists()):
        return os.path.abspath(word)
    return word


def _headers(said: list[str]) -> dict[str, str]:
    from dominie_contracts import Invalid

    parts = [line.partition(":") for line in said]
    if wrong := next((line for line, (name, colon, _) in zip(said, parts, strict=True) if not (name and colon)), None):
        raise Invalid(f"{wrong!r} is no header; one is like 'Authorization: Bearer {{secret:API_KEY}}'")
    headers = {name.strip(): text.strip() for name, _, text in parts}
    if len(headers) < len(parts):
        raise Invalid("a header is said once")
    return headers


def _network(hosts: list[str], secrets: list[str]) -> dict[str, object] | None:
    """What it may reach: each of the hosts at each of the ports."""
    if not hosts and not secrets:
        return None
    parts = [host.partition(":") for host in hosts]
    names, ports = dict.fromkeys(name for name, _, _ in parts), dict.fromkeys(port or "443" for _, _, port in parts)
    return {"hosts": tuple(names), "ports": tuple(ports) or (443,), "secrets": tuple(secrets)}


def _environment(said: list[str]) -> dict[str, str]:
    from dominie_contracts import Invalid

    parts = [line.partition("=") for line in said]
    if wrong := next((line for line, (_, equals, _) in zip(said, parts, strict=True) if not equals), None):
        raise Invalid(f"{wrong!r} is no value; one is like LANG=C.UTF-8")
    return {name: value for name, _, value in parts}


def _words(effects: list[str] | None, roles: list[str] | None, trust_hints: bool) -> "Words":
    from pydantic import ValidationError

    from dominie_contracts import Invalid
    from dominie_contracts.servers import Words

    by_tool: dict[str, dict[str, str]] = {}
    for said in roles or []:
        place, _, role = said.rpartition("=")
        tool, _, argument = place.rpartition(".")
        by_tool.setdefault(tool, {})[argument] = role
    said_effects = {tool: effect for tool, _, effect in (said.rpartition("=") for said in effects or [])}
    try:
        return Words.model_validate({"trust_hints": trust_hints, "effects": said_effects, "roles": by_tool})
    except ValidationError as error:
        where = ".".join(map(str, error.errors()[0]["loc"]))
        raise Invalid(f"{where}: {error.errors()[0]['msg']}") from error


def _asked(found: "ServerReview", words: "Words | None") -> bool:
    if not found.differences and words is None and not found.server.changed:
        return False
    return typer.confirm("Accept this?", default=False, err=True)


def _standing(server: "ServerView") -> str:
    return "changed: review it" if server.changed else "accepted"


def _where(server: "Server") -> str:
    """How it is reached, and what it is given; what is secret of that is not in there."""
    headers = [f"{name}: {text}" for name, text in server.headers.items()]
    return "\n".join([f"over {server.transport}: {server.place}", *headers, *_profile(server)])


def _profile(server: "Server") -> list[str]:
    """What its program is given beside its files."""
    network = server.network
    reaches = [f"reaches {', '.join(network.hosts)}, port {', '.join(map(str, network.ports))}"] if network else []
    uses = [f"uses {', '.join(network.secrets)}"] if network and network.secrets else []
    return [*reaches, *uses, *(f"has {name}={value}" for name, value in server.environment.items())]


def _tools(console: "Console", server: "ServerView") -> None:
    rows = [(each.name, each.version, each.effect, each.description.partition("\n")[0]) for each in server.tools]
    table(console, ("tool", "version", "effect", "description"), rows, "It has no tools.")


def _shown(console: "Console", server: "ServerView") -> None:
    from rich.text import Text

    console.print(Text(safe(f"{_where(server.server)}\naccepted by {server.by}, {server.digest}; {_standing(server)}")))
    if server.instructions:
        console.print(Text(safe(server.instructions), style="dim"))
    _tools(console, server)
    table(console, ("pinned", "digest"), sorted(server.program.items()), "Nothing of its program is pinned.")


def _differences(console: "Console", found: "ServerReview") -> None:
    from rich.text import Text

    for line in _profile(found.server.server):
        console.print(Text(safe(line), style="dim"))
    if not found.differences:
        console.print(Text(f"{found.server.server.name} is what was accepted.", style="dim"))
    for each in found.differences:
        console.print(Text(safe(each.what), style="bold"))
        for line in _lines(each):
            console.print(Text(safe(line), style={"-": "red", "+": "green"}.get(line[:1], "dim")))


def _lines(difference: "Difference") -> list[str]:
    from difflib import unified_diff

    before, after = difference.before.splitlines(), difference.after.splitlines()
    return list(unified_diff(before, after, lineterm="", n=2))[2:]
