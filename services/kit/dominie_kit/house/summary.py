"""What `dominie up` says when all is ready."""

from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from dominie_kit.house.plan import Plan
from dominie_kit.house.state import FOLDER, Up


def print_summary(console: Console, plan: Plan, up: Up, *, detached: bool = False) -> None:
    """What runs, where to look, what to type next."""
    console.print()
    console.print(Text.assemble(("  Dominie is up", "bold green"), (f"  ready in {up.ready_s:.1f} s", "dim")))
    console.print()
    if plan.observe:
        console.print(Text("  OBSERVING: no policy is enforced, every decision is only recorded", "bold red"))
        console.print()
    console.print(_grid(_facts(plan, up), "dim", "default"))
    console.print()
    console.print(_grid(_next(detached), "bold cyan", "dim"))
    console.print()


def _next(detached: bool) -> list[tuple[str, str]]:
    return [
        ("dominie exec -- python your_agent.py", "run an agent under it"),
        ("dominie status", "how every part is, and what it takes"),
        ("dominie down" if detached else "Ctrl-C", "stop it"),
    ]


def _facts(plan: Plan, up: Up) -> list[tuple[str, str]]:
    live = [("live page", up.gateway_url + "/")] if up.gateway_url else []
    return [
        ("services", " ".join(plan.services)),
        *live,
        ("bus", up.nats_url),
        ("store", up.store),
        ("state", f"{_short(plan.folder / FOLDER)}  logs in {FOLDER}/log"),
        ("keys", str(_short(plan.keys))),
    ]


def _grid(rows: list[tuple[str, str]], left: str, right: str) -> Table:
    table = Table.grid(padding=(0, 3, 0, 0))
    table.add_column(style=left, no_wrap=True)
    table.add_column(style=right, overflow="fold")
    for name, value in rows:
        table.add_row(f"  {name}", value)
    return table


def _short(path: Path) -> str:
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
