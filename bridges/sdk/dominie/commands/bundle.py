"""`dominie audit bundle | verify-bundle`."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._pages import Exported, Output, writing
from dominie.commands._select import selecting
from dominie.commands._show import Json, note, safe, say

if TYPE_CHECKING:
    from dominie_contracts.audit import BundleReport, Selection

BundleFile = Annotated[
    Path, typer.Argument(metavar="FILE", exists=True, dir_okay=False, readable=True, help="What `bundle` wrote.")
]


def register(audit: typer.Typer) -> None:
    """Add the commands of bundles."""
    audit.command("bundle")(selecting(bundle))
    audit.command("verify-bundle")(verify_bundle)


def bundle(
    asked: "Selection",
    of: Annotated[str | None, typer.Argument(metavar="RUN", help="All events of this run.")] = None,
    output: Output = None,
) -> None:
    """A run, or all events that fit, in one file that anybody can check with the log's verifier key alone."""
    from dominie import Invalid
    from dominie.bundles import bundle
    from dominie.commands._people import developer
    from dominie.commands.proofs import typed
    from dominie_contracts.audit import BundleHead

    if of is not None and asked.run not in (None, of):
        raise Invalid(f"which run, {of!r} or {asked.run!r}?")
    if of is not None:
        asked = asked.model_copy(update={"run": of})
    with developer() as client, typed():
        exported = Exported(client, asked, proofs=True)
        if exported.empty:
            raise Invalid(f"no run {of!r} is on record; `dominie ps` shows the latest" if of else "nothing fits")
        head = BundleHead(key=exported.checkpoint.key, selection=asked, checkpoint=exported.checkpoint.checkpoint)
        with writing(output) as file:
            for line in bundle(head, exported):
                file.write(line)
    where = f" to {str(output)!r}" if output else ""
    note(f"{exported.count} events written{where}: `dominie audit verify-bundle` checks them anywhere.")


def verify_bundle(
    file: BundleFile,
    key: Annotated[str, typer.Option(metavar="VKEY", help="The log's verifier key, from somebody you trust.")],
    witness: Annotated[list[str] | None, typer.Option(metavar="VKEY", help="A witness that you trust.")] = None,
    quorum: Annotated[
        int | None, typer.Option(min=0, metavar="N", help="So many of them have to have signed; all, if not given.")
    ] = None,
    json: Json = False,
) -> None:
    """Check a bundle with nothing but the log's verifier key. Exit code 1 where it does not hold."""
    witnesses = witness or []
    found = _checked(file, key, witnesses, len(witnesses) if quorum is None else quorum)
    say(found.model_dump(mode="json"), lambda console: typer.echo(_told(found)), as_json=json)
    if not found.ok:
        raise typer.Exit(1)


def _checked(file: Path, key: str, witnesses: list[str], quorum: int) -> "BundleReport":
    from dominie import bundles
    from dominie.cosignatures import WitnessKey
    from dominie.notes import ProofProblem, VerifierKey
    from dominie_contracts.audit import BundleReport

    try:
        lines = _lines(file, bundles.MAX_LINE_BYTES)
        trusted = [WitnessKey.parse(each) for each in witnesses]
        verified = bundles.verify_bundle(lines, VerifierKey.parse(key), witnesses=trusted, quorum=quorum)
    except ProofProblem as error:
        found = BundleReport(ok=False, problem=type(error).__name__, detail=error.detail)
        if isinstance(error, bundles.BadBundle):
            place = {"line": error.line, "index": error.index, "position": error.position}
            return found.model_copy(update=place)
        return found
    return BundleReport(
        ok=True,
        origin=verified.checkpoint.origin,
        size=verified.checkpoint.size,
        events=verified.end.events,
        streams=verified.end.streams,
        whole=verified.end.whole,
        selection=verified.head.selection,
    )


def _lines(file: Path, max_bytes: int) -> Iterator[bytes]:
    """The lines of a file, the longest of them cut."""
    with file.open("rb") as opened:
        yield from iter(partial(opened.readline, max_bytes), b"")


def _told(found: "BundleReport") -> str:
    if not found.ok:
        return f"It does NOT hold ({found.problem}): {safe(found.detail or '')}."
    asked = found.selection.model_dump_json(exclude_none=True) if found.selection else ""
    return (
        f"It holds: {found.events} events of the {found.size} in the log {safe(repr(found.origin))}.\n"
        f"Of their {found.streams} streams {found.whole} are here from the first event on, with none missing between.\n"
        f"It was asked for with {safe(asked)}, says who wrote the file; nobody signed that."
    )
