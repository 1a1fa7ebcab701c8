"""`dominie audit export`."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dominie.commands._pages import Exported, Output, writing
from dominie.commands._select import selecting
from dominie.commands._show import note

if TYPE_CHECKING:
    from dominie_contracts.audit import Selection


def register(audit: typer.Typer) -> None:
    """Add `export`."""
    audit.command("export")(selecting(export))


def export(
    asked: "Selection",
    format: Annotated[Literal["jsonl", "csv"], typer.Option(help="JSON lines, or a table.")] = "jsonl",
    proofs: Annotated[
        bool, typer.Option("--proofs", help="JSON lines with what proves that each is in the log.")
    ] = False,
    output: Output = None,
) -> None:
    """All events that fit, oldest first, as they are stored. They are those that one checkpoint covers."""
    from dominie import Invalid
    from dominie.commands._people import developer
    from dominie.commands._rows import as_csv, as_json_lines

    if proofs and format == "csv":
        raise Invalid("a table has no place for proofs: leave --proofs or --format csv away")
    with developer() as client:
        exported = Exported(client, asked, proofs=proofs)
        lines = (
            as_csv(exported) if format == "csv" else as_json_lines(exported, exported.checkpoint if proofs else None)
        )
        with writing(output) as file:
            for line in lines:
                file.write(line)
    where = f" to {str(output)!r}" if output else ""
    note(f"{exported.count} events written{where}, of {exported.size} in the log.")
