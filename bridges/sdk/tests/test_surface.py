"""What users import."""

import subprocess
import sys

import dominie
from dominie_contracts.problems import Problem

PUBLIC = [
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


def test_the_public_names_are_these() -> None:
    assert dominie.__all__ == PUBLIC == sorted(PUBLIC)
    assert all(getattr(dominie, name).__name__ == name for name in PUBLIC)


def test_there_is_one_tree_of_problems() -> None:
    problems = [kind for name in PUBLIC if isinstance(kind := getattr(dominie, name), type)]
    found = {kind for kind in problems if issubclass(kind, Exception)}
    assert all(issubclass(kind, Problem) for kind in found) and len(found) == 13


def test_importing_it_loads_next_to_nothing() -> None:
    program = "import dominie, sys; print([m for m in ('pydantic', 'nats', 'typer', 'anyio') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=True)
    assert found.stdout == "[]\n"
