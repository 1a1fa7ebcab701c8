"""`dominie exec -- CMD…`: give any program an identity and its surroundings, and supervise it."""

from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add `exec`."""
    options = {"ignore_unknown_options": True, "allow_interspersed_args": False}
    app.command("exec", context_settings=options)(execute)


def execute(
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The program and its arguments.")],
    name: Annotated[str | None, typer.Option(help="The agent's name; none given: the program's.")] = None,
    user: Annotated[str | None, typer.Option(help="On whose behalf it acts; none given: yours.")] = None,
) -> None:
    """Run a program as an agent: with an identity, DOMINIE_* and an OpenAI-compatible address and key.

    Its exit code is the program's own (128 and the signal's number, where a signal ended it).
    """
    from dominie._exec import execute

    raise typer.Exit(execute(command, name, user))
