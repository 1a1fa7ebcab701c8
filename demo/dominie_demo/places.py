"""Where the demo's parts are: the desk's own files, and the environment its agent runs in."""

import sys
from pathlib import Path

import typer

DESK = Path(__file__).parent / "desk"
ROOT = Path(__file__).parents[2]
AGENT_PYTHON = ROOT / "bridges" / "langgraph" / ".venv" / "bin" / "python"
PYTHON = Path(sys.executable)


def check() -> None:
    """Say what to do where the agent's environment is missing."""
    if not AGENT_PYTHON.exists():
        typer.echo("The demo's agent needs LangGraph in an environment of its own: run `make demo`.", err=True)
        raise typer.Exit(1)
