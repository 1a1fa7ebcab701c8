"""How commands speak: data on standard output, as one JSON object or for people; prose on standard error."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

PIPE_WIDTH = 400
"""Where nobody looks, nothing is folded."""
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def say(data: Mapping[str, Any], human: "Callable[[Console], object]", *, as_json: bool) -> None:
    """Print data: as JSON, or as `human` draws it."""
    if as_json:
        typer.echo(json.dumps(data, ensure_ascii=False))
        return
    from rich.console import Console

    human(Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH))


def note(text: str) -> None:
    """A line of prose."""
    typer.echo(text, err=True)


def table(console: "Console", columns: Sequence[str], rows: Iterable[Sequence[object]], empty: str) -> None:
    """A plain table; `empty` is said where there are no rows."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = Table(box=box.SIMPLE_HEAD, header_style="dim", pad_edge=False)
    for number, column in enumerate(columns):
        found.add_column(column, no_wrap=number == 0, overflow="fold")
    for row in rows:
        found.add_row(*(Text(safe(str(cell))) for cell in row))
    console.print(found if found.row_count else Text(empty, style="dim"))


def arguments_of(arguments: Mapping[str, Any]) -> str:
    """Arguments in one line."""
    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in arguments.items())


def safe(text: str) -> str:
    """Text from elsewhere, without what steers a terminal."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
