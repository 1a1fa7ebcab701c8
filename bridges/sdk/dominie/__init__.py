"""The agent's side of Dominie, and its command line.

    import dominie

    with dominie.Client().run(user="dana") as run:
        run.invoke("refund", {"order": "A1", "amount_cents": 3000})

Every error is a `Problem`; the tree is drawn in `dominie_contracts.problems`. Names load when they are first used, so
that the command line starts at once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dominie._chat import Reply
    from dominie._client import AsyncClient
    from dominie._credentials import Credentials
    from dominie._run import AsyncRun
    from dominie._schema import Integrity, Role
    from dominie._serve import serve
    from dominie._sync import Client, Run
    from dominie._tool import Tool, ToolContext, tool
    from dominie_contracts.plans import Plan, PlanStep
    from dominie_contracts.problems import (
        ApprovalRequired,
        BudgetExceeded,
        Conflict,
        DeadlineExceeded,
        Diverged,
        Forbidden,
        Held,
        Invalid,
        Problem,
        QuotaExceeded,
        ToolFailed,
        Unauthenticated,
        Unavailable,
    )

_HOMES = {
    "_chat": ("Reply",),
    "_client": ("AsyncClient",),
    "_credentials": ("Credentials",),
    "_run": ("AsyncRun",),
    "_schema": ("Integrity", "Role"),
    "_serve": ("serve",),
    "_sync": ("Client", "Run"),
    "_tool": ("Tool", "ToolContext", "tool"),
}
_HOME = {name: f"dominie.{module}" for module, names in _HOMES.items() for name in names}
_HOME |= dict.fromkeys(("Plan", "PlanStep"), "dominie_contracts.plans")

__all__ = [
    "ApprovalRequired",
    "AsyncClient",
    "AsyncRun",
    "BudgetExceeded",
    "Client",
    "Conflict",
    "Credentials",
    "DeadlineExceeded",
    "Diverged",
    "Forbidden",
    "Held",
    "Integrity",
    "Invalid",
    "Plan",
    "PlanStep",
    "Problem",
    "QuotaExceeded",
    "Reply",
    "Role",
    "Run",
    "Tool",
    "ToolContext",
    "ToolFailed",
    "Unauthenticated",
    "Unavailable",
    "serve",
    "tool",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'dominie' has no attribute {name!r}")
    return getattr(import_module(_HOME.get(name, "dominie_contracts.problems")), name)
