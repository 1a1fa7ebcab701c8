"""`dominie audit erase | check-receipt`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say
from dominie.commands.proofs import typed

if TYPE_CHECKING:
    from dominie_contracts.audit import Receipt

TITLE = "dominie erasure receipt v1"
_FILE = {"exists": True, "dir_okay": False, "readable": True}


def register(audit: typer.Typer) -> None:
    """Add the commands of erasure."""
    audit.command("erase")(erase)
    audit.command("check-receipt")(check_receipt)


def erase(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person: `u-NAME`, or NAME.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask again.")] = False,
    out: Annotated[Path | None, typer.Option(help="Write the signed receipt to a file.", dir_okay=False)] = None,
    as_: Annotated[str, typer.Option("--as", metavar="NAME", help="Who you are.")] = "privacy",
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Your key, where it is not in its place.")] = None,
    json: Json = False,
) -> None:
    """Erase a person for good: their key is destroyed.

    Exit code 1 where something of them can still be read, could not be looked through, or was not built anew.
    """
    import anyio

    from dominie._config import as_user
    from dominie.commands._erasing import waited
    from dominie.commands._people import credentials_of
    from dominie_contracts.audit import EraseSubject

    person = as_user(subject)
    if not yes:
        question = f"Nothing that was ever written for {person} can be read afterwards. Go on?"
        typer.confirm(question, abort=True, err=True)
    found = anyio.run(waited, credentials_of(as_, key), EraseSubject(subject=person))
    if out is not None:
        out.write_text(found.note)
        note(f"The signed receipt is in {str(out)!r}: `dominie audit check-receipt` checks it anywhere.")
    say(found.model_dump(mode="json"), lambda console: console.print(_told(found.receipt), markup=False), as_json=json)
    if found.receipt.residue or found.receipt.unread or found.receipt.late:
        raise typer.Exit(1)


def check_receipt(
    file: Annotated[Path, typer.Argument(metavar="FILE", **_FILE, help="What `erase --out` wrote.")],
    key: Annotated[str, typer.Option(metavar="VKEY", help="The log's verifier key, from somebody you trust.")],
    json: Json = False,
) -> None:
    """Check a receipt with nothing but the log's verifier key. Exit code 1 where it does not hold."""
    from dominie import Invalid
    from dominie.notes import VerifierKey, open_note
    from dominie_contracts.audit import Receipt

    with typed():
        title, _, body = open_note(file.read_text(errors="replace"), VerifierKey.parse(key)).partition("\n")
    if title != TITLE:
        raise Invalid(f"{str(file)!r} is signed, and is no receipt of an erasure")
    receipt = Receipt.model_validate_json(body)
    data = {"ok": True, **receipt.model_dump(mode="json")}
    say(data, lambda console: console.print(_told(receipt), markup=False), as_json=json)


def _told(receipt: "Receipt") -> str:
    lines = [
        f"{receipt.subject} was erased by {receipt.by} at {receipt.time}: {len(receipt.keys)} keys destroyed.",
        f"Sealed texts that nobody can read any more stand in: {_counts(receipt.held) or 'no file'}.",
        f"Looked for {receipt.needles} pieces in {receipt.files} files: {_residue(receipt)}.",
    ]
    if receipt.stores:
        lines.append(f"These were read: {_counts(receipt.stores)}; {receipt.read_bytes / 1e6:,.1f} MB.")
    if not receipt.needles:
        lines.append("There was nothing to look for: their key was gone already.")
    if receipt.unread:
        lines.append(f"COULD NOT BE READ, so nobody can tell: {', '.join(receipt.unread)}.")
    if receipt.late:
        lines.append(f"NOT BUILT ANEW YET: {', '.join(receipt.late)}. Start what is away, and erase again.")
    if receipt.elsewhere:
        lines.append(f"Not within reach from here: {', '.join(receipt.elsewhere)}.")
    return safe("\n".join(lines))


def _counts(stores: dict[str, int]) -> str:
    return ", ".join(f"{store} ({count})" for store, count in sorted(stores.items()))


def _residue(receipt: "Receipt") -> str:
    return f"STILL READABLE in {', '.join(receipt.residue)}" if receipt.residue else "none is left"
