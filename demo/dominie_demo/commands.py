"""`dominie demo`."""

import json as jsonlib
from pathlib import Path
from typing import Annotated

import typer


def register(app: typer.Typer) -> None:
    """Add the demo to the command line."""
    app.command()(demo)


def demo(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
    folder: Annotated[Path, typer.Option(help="Where the demo keeps its record; emptied first.")] = Path(
        ".dominie-demo"
    ),
    mailbox: Annotated[Path | None, typer.Option(help="Other tickets than the demo's own.")] = None,
) -> None:
    """A refund desk, first as it is, then under Dominie: what goes wrong without, and what does not with it."""
    from rich.console import Console

    from dominie_demo.narrator import Narrator
    from dominie_demo.story import Demo

    narrator = Narrator(Console(stderr=json), ask=not json)
    found = Demo(folder.resolve(), narrator, mailbox).run()
    if json:
        print(jsonlib.dumps(found))
