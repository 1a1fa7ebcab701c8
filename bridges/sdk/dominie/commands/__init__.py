"""The sdk's commands. Nothing heavy is imported before a command runs."""

import typer

from dominie.cli import KEYS_HELP, group
from dominie.commands import (
    agent,
    approvals,
    audit,
    delegate,
    execute,
    fork,
    labels,
    limits,
    login,
    mcp,
    plan,
    protect,
    ps,
    replay,
    secret,
    tools,
    version,
)


def register(app: typer.Typer) -> None:
    """Add the sdk's commands to `dominie`."""
    first = (login, execute, ps, agent, delegate, plan, tools, mcp, secret)
    for module in (*first, approvals, labels, limits, audit, replay, fork, version):
        module.register(app)
    protect.register(group(app, "keys", help=KEYS_HELP))
