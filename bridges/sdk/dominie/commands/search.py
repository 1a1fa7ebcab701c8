"""`dominie audit search`."""

from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._select import selecting
from dominie.commands._show import Json, note, safe, say

if TYPE_CHECKING:
    from rich.console import Console

    from dominie_contracts.audit import Entries, Search, Selection

_MOST = 2**63 - 1


def register(audit: typer.Typer) -> None:
    """Add `search`."""
    audit.command("search")(selecting(search))


def search(
    asked: "Selection",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 50,
    after: Annotated[int, typer.Option(min=0, max=_MOST, metavar="POSITION", help="Newer than this event.")] = 0,
    before: Annotated[
        int | None, typer.Option(min=1, max=_MOST, metavar="POSITION", help="Older than this event.")
    ] = None,
    earliest: Annotated[bool, typer.Option("--earliest", help="The earliest that fit, not the latest.")] = False,
    newest_first: Annotated[bool, typer.Option("--newest-first", help="Print the newest first, not last.")] = False,
    json: Json = False,
) -> None:
    """Find events; all that is given must fit. The latest that do are printed, the newest last."""
    from dominie.commands._people import developer
    from dominie_contracts.audit import Entries, Search

    paged = {"limit": limit, "after": after, "before": before, "earliest": earliest}
    command = Search.model_validate(asked.model_dump() | paged)
    with developer() as client:
        found = client.ask(command, Entries)
    if newest_first:
        found = found.model_copy(update={"entries": found.entries[::-1]})
    say(found.model_dump(mode="json"), lambda console: _print(console, command, found), as_json=json)


def _print(console: "Console", asked: "Search", found: "Entries") -> None:
    """Events as lines: their place, when, who, what."""
    from rich.text import Text

    places = [entry.position for entry in found.entries]
    wide = len(str(max(places, default=0)))
    for entry in found.entries:
        when = entry.time[:19].replace("T", " ")
        what = safe(f"{entry.type.rpartition('.v')[0]:<22} {entry.summary}")
        head = (f"{entry.position:>{wide}}  {when} ", "dim")
        console.print(Text.assemble(head, (f"{safe(entry.agent):<16} ", "cyan"), what))
    if not places:
        note("Nothing fits.")
    elif found.truncated:
        go_on = f"--earliest --after {max(places)}" if asked.earliest else f"--before {min(places)}"
        note(f"There is more: the same with {go_on}.")
