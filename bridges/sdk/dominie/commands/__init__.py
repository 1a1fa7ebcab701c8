"""The sdk's commands. Nothing heavy is imported before a command runs."""

import typer

from dominie.commands import agent, approvals, audit, execute, ps, tools, version


def register(app: typer.Typer) -> None:
    """Add the sdk's commands to `dominie`."""
    for module in (execute, ps, agent, tools, approvals, audit, version):
        module.register(app)
