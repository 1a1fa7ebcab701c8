"""`dominie secret set | list | remove`."""

import sys
from datetime import UTC, datetime
from getpass import getpass
from typing import Annotated

import typer

from dominie.commands._show import Json, note, say, table

Name = Annotated[str, typer.Argument(metavar="NAME", help="As tools find it in their environment: API_KEY.")]
_MOST = 65_536
_FORMS = {
    "name": "a secret's name is like API_KEY",
    "hosts": "a host is a whole name, api.example.org, or *.example.com for all below that",
    "tools": "a secret is for 64 tools at most",
}
COLUMNS = ("secret", "hosts", "tools", "kept by", "since")


def register(app: typer.Typer) -> None:
    """Add `secret`."""
    secrets = typer.Typer(help="What sandboxed tools may use, and never see.", no_args_is_help=True)
    secrets.command("set")(set_secret)
    secrets.command("list")(list_secrets)
    secrets.command("remove")(remove)
    app.add_typer(secrets, name="secret")


def set_secret(
    name: Name,
    host: Annotated[list[str], typer.Option(help="Where it may go: api.example.org, *.example.com. Several times.")],
    tool: Annotated[list[str] | None, typer.Option(help="A tool of somebody else that may use it, too.")] = None,
    json: Json = False,
) -> None:
    """Keep a secret. Its value is asked for, or read from standard input."""
    from pydantic import ValidationError

    from dominie.commands._people import developer
    from dominie_contracts import Invalid
    from dominie_contracts.secrets import KeepSecret, Secrets

    value = _value(name)
    try:
        command = KeepSecret(name=name, value=value, hosts=tuple(host), tools=tuple(tool or ()))
    except ValidationError as error:
        parts = {str(each["loc"][0]) for each in error.errors(include_input=False)}
        raise Invalid("; ".join(words for part, words in _FORMS.items() if part in parts) or "no such secret") from None
    with developer() as client:
        found = client.ask(command, Secrets)
    words = f"{name} goes to {', '.join(host)} alone, for tools whose profile and MCP servers whose headers name it."
    say(found.model_dump(mode="json"), lambda console: note(words), as_json=json)


def list_secrets(json: Json = False) -> None:
    """Which secrets are kept; their values are never shown."""
    from dominie.commands._people import developer
    from dominie_contracts.secrets import ListSecrets, Secrets

    with developer() as client:
        found = client.ask(ListSecrets(), Secrets)
    rows = [
        (each.name, ", ".join(each.hosts), ", ".join(each.tools), each.by, _date(each.since_ms))
        for each in found.secrets
    ]
    empty = "No secrets are kept; `dominie secret set NAME --host HOST` keeps one."
    say(found.model_dump(mode="json"), lambda console: table(console, COLUMNS, rows, empty), as_json=json)


def remove(name: Name, json: Json = False) -> None:
    """Remove a secret: no call has it from now on."""
    from pydantic import ValidationError

    from dominie.commands._people import developer
    from dominie_contracts import Invalid
    from dominie_contracts.secrets import RemoveSecret, Secrets

    try:
        command = RemoveSecret(name=name)
    except ValidationError as error:
        raise Invalid(f"no secret has a name like {name!r}; `dominie secret list` shows which are kept") from error
    with developer() as client:
        client.ask(command, Secrets)
    say({"removed": name}, lambda console: note(f"{name} is removed. End it where it came from, too."), as_json=json)


def _value(name: str) -> str:
    """What the secret is: never an argument, which everybody on the machine could read.

    Raises:
        Invalid: There is none.
    """
    from dominie_contracts import Invalid

    if sys.stdin.isatty():
        try:
            value = getpass(f"{name}: ", stream=sys.stderr)
        except EOFError:
            value = ""
    else:
        value = sys.stdin.read(_MOST).rstrip("\r\n")
    if not value:
        raise Invalid("no secret was given; nothing has changed")
    return value


def _date(since_ms: int) -> str:
    return f"{datetime.fromtimestamp(since_ms / 1000, UTC):%Y-%m-%d %H:%M}"
