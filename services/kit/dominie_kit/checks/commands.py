"""`dominie checks list | try`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie_kit.commands import Json, problems, say

if TYPE_CHECKING:
    from pydantic import JsonValue

    from dominie_kit.checks.check import Check
    from dominie_kit.checks.looking import Found

Policies = Annotated[
    Path | None, typer.Option("--policies", help="A folder of policies, for its deny lists.", file_okay=False)
]


def register(app: typer.Typer) -> None:
    """Add `checks`."""
    checks = typer.Typer(help="What is looked for in arguments and results.", no_args_is_help=True)
    checks.command("list")(list_checks)
    checks.command("try")(try_checks)
    app.add_typer(checks, name="checks")


def list_checks(policies: Policies = None, json: Json = False) -> None:
    """The checks there are, and what each finds. Exit code 1 if one cannot be loaded."""
    from dominie_kit.checks.installed import installed

    with problems():
        here, lists = installed(), _lists(policies)
    rows = [{"name": name, "finds": list(check.finds)} for name, check in [*here.checks.items(), *lists.items()]]
    say({"checks": rows, "broken": dict(here.broken)}, None, json=json)
    for name, check in () if json else [*here.checks.items(), *lists.items()]:
        typer.echo(f"{name}: {', '.join(check.finds)}")
    for name, why in here.broken.items():
        typer.echo(f"{name} cannot be loaded: {why}", err=True)
    if here.broken:
        raise typer.Exit(1)


def try_checks(
    text: Annotated[str | None, typer.Argument(metavar="TEXT", help="What to look at.", show_default=False)] = None,
    file: Annotated[Path | None, typer.Option("--file", help="Look at a file instead; JSON part by part.")] = None,
    policies: Policies = None,
    json: Json = False,
) -> None:
    """Show what the checks find in a text. Exit code 1 if one could not look."""
    import anyio

    from dominie_kit.checks.installed import installed
    from dominie_kit.checks.looking import ALL, CPU_S, Looking
    from dominie_kit.errors import KitError

    with problems():
        if (text is None) == (file is None):
            raise KitError("name a TEXT or a --file, one of both")
        given, lists = text if file is None else _read(file), _lists(policies)
        looking = Looking(installed(), cpu_s=CPU_S)
        found = anyio.run(lambda: looking.look(given, frozenset({ALL}), lists=lists))
    data = {"found": list(found.kinds), "at": {at: list(kinds) for at, kinds in found.at.items()}}
    say({**data, "checked": list(found.checked), "failed": dict(found.failed)}, _told(found), json=json)
    for name, why in found.failed.items():
        typer.echo(f"{name} could not look: {why}", err=True)
    if found.failed:
        raise typer.Exit(1)


def _told(found: "Found") -> str:
    rows = [f"{', '.join(kinds)}{f'  at {at}' if at else ''}" for at, kinds in found.at.items()]
    return "\n".join(rows) or f"Nothing was found by {', '.join(found.checked) or 'anybody'}."


def _read(file: Path) -> "JsonValue":
    """A file's JSON, or its text."""
    from json import loads

    from dominie_kit.errors import KitError

    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise KitError(f"{str(file)!r} cannot be read: {error}") from error
    try:
        found: JsonValue = loads(text)
        return found
    except (ValueError, RecursionError):
        return text


def _lists(policies: Path | None) -> "dict[str, Check]":
    from dominie_kit.checks.lists import read_lists
    from dominie_kit.errors import KitError
    from dominie_kit.policy.folder import read_policies

    try:
        return dict(read_lists(read_policies(policies) if policies else ()))
    except ValueError as error:
        raise KitError(f"{str(policies)!r}: {error}") from error
