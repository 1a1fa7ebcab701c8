"""The `dominie` command. Each installed package adds its own commands by the entry-point group `dominie.commands`."""

import os
import sys
from importlib.metadata import EntryPoint, entry_points

import typer

GROUP = "dominie.commands"
DEBUG = "DOMINIE_DEBUG"
APPROVALS_HELP = "What agents may do only when a person says yes."
KEYS_HELP = "The keys that the deployment itself has, and those of people."
AUDIT_HELP = "What agents did, and whether the log is whole."


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error and exit code 1."""
    app = build()
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        typer.echo(f"dominie: {_explain(error)}", err=True)
        sys.exit(1)


def build() -> typer.Typer:
    """The command line with every plugin that is installed."""
    app = typer.Typer(
        name="dominie",
        help="An operating system for AI agents.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    for plugin in sorted(entry_points(group=GROUP), key=lambda plugin: (plugin.name != "kit", plugin.name)):
        _add(app, plugin)
    return app


def group(app: typer.Typer, name: str, *, help: str) -> typer.Typer:
    """A group of commands that several packages add to."""
    for found in app.registered_groups:
        if found.name == name and found.typer_instance is not None:
            return found.typer_instance
    made = typer.Typer(help=help, no_args_is_help=True)
    app.add_typer(made, name=name)
    return made


def _add(app: typer.Typer, plugin: EntryPoint) -> None:
    try:
        plugin.load()(app)
    except Exception as error:  # one broken plugin must not take the others along
        typer.echo(f"dominie: the commands of {plugin.name!r} are missing: {_explain(error)}", err=True)


def _explain(error: Exception) -> str:
    from dominie_contracts.problems import Problem

    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    if isinstance(error, Problem):
        return f"{error.title}: {error.detail}"
    return f"unexpected {type(error).__name__}: {error} ({DEBUG}=1 shows where)"
