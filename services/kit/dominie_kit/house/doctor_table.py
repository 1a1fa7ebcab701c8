"""What `dominie doctor` found, for people."""

from collections.abc import Iterable

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dominie_kit.house.doctor import Check


def print_checks(console: Console, checks: Iterable[Check]) -> None:
    """One line for each thing."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for check in checks:
        state = "[green]ok[/]" if check.holds else "[red]missing[/]" if check.needed else "without"
        table.add_row(check.name, state, escape(check.found if check.holds else check.todo))
    console.print(table)
