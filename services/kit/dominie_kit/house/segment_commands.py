"""`dominie audit segments | archive`: which segments the log has, and having them archived. As the operator."""

from typing import TYPE_CHECKING, Annotated

import typer

from dominie_kit.commands import HERE, Folder, Json, Keys, NatsUrl, problems, say, where

if TYPE_CHECKING:
    from dominie_eventstore import Segments
    from dominie_kit.house.segments import SegmentsView


def register(audit: typer.Typer) -> None:
    """Add them to `dominie audit`."""
    audit.command("segments")(segments)
    audit.command("archive")(archive)


def segments(folder: Folder = HERE, nats_url: NatsUrl = None, keys: Keys = None, json: Json = False) -> None:
    """The segments of the log: the open one, and where the others are. As the operator."""
    import anyio

    from dominie_kit.house.segments import keeping

    async def ask() -> "SegmentsView":
        async with keeping(url, held) as keeper:
            return await keeper.view()

    with problems():
        url, held = where(folder, nats_url, keys)
        found = anyio.run(ask)
    if json:
        typer.echo(found.model_dump_json())
    else:
        _print(found)


def archive(
    now: Annotated[bool, typer.Option("--now", help="Seal the open segment first, however small it is.")] = False,
    timeout_s: Annotated[float, typer.Option("--timeout", min=1, help="Seconds to wait for.")] = 600.0,
    folder: Folder = HERE,
    nats_url: NatsUrl = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Archive what is sealed, and remove it from the broker once the archive was checked. As the operator."""
    import anyio

    from dominie_kit.house.segments import Limits, keeping

    told = set[int]()

    def tell(found: "Segments") -> None:
        if found.first not in told:
            told.add(found.first)
            typer.echo(f"archiving segment {found.first} …", err=True)

    async def run() -> tuple[bool, int]:
        async with keeping(url, held) as keeper:
            rolled = await keeper.roll(None if now else Limits())
            return rolled, await keeper.archive_all(tell, timeout_s)

    with problems():
        url, held = where(folder, nats_url, keys)
        rolled, count = anyio.run(run)
    text = f"{count} segments are archived." if count != 1 else "1 segment is archived."
    say({"rolled": rolled, "archived": count}, text if count else "There is nothing to archive.", json=json)


def _print(found: "SegmentsView") -> None:
    from rich.console import Console

    from dominie.commands._show import table

    rows = [
        (
            str(each.segment),
            each.state,
            *("" if number is None else f"{number:,}" for number in (each.appends, each.events, each.streams)),
            "" if each.bytes is None else f"{each.bytes / 2**20:.1f} MB",
        )
        for each in found.segments
    ]
    table(Console(), ("segment", "state", "appends", "events", "streams", "size"), rows, empty="")
    if found.trouble:
        typer.echo(f"dominie: not archived: {found.trouble}", err=True)
