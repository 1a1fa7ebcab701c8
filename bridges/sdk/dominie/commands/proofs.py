"""`dominie audit checkpoint | prove | check-proof`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say

if TYPE_CHECKING:
    from dominie.proofs import Proven

_FILE = {"exists": True, "dir_okay": False, "readable": True}
Extends = Annotated[
    Path | None,
    typer.Option(**_FILE, help="An older checkpoint: check that the current one extends it."),
]
ProofFile = Annotated[Path, typer.Argument(metavar="FILE", **_FILE, help="What `prove` wrote.")]


def register(audit: typer.Typer) -> None:
    """Add the commands of the transparency log."""
    audit.command("checkpoint")(checkpoint)
    audit.command("prove")(prove)
    audit.command("check-proof")(check_proof)


def checkpoint(
    key: Annotated[bool, typer.Option("--key", help="Print the log's verifier key instead.")] = False,
    extends: Extends = None,
    json: Json = False,
) -> None:
    """The current signed checkpoint: keep it where this machine cannot change it."""
    from dominie.commands._people import developer
    from dominie.notes import Checkpoint, VerifierKey
    from dominie.proofs import check_extension
    from dominie_contracts.audit import GetCheckpoint, SignedCheckpoint

    older = extends.read_text(errors="replace") if extends else None
    with typed(), developer() as client:
        size = None if older is None else Checkpoint.parse(older.partition("\n\n")[0] + "\n").size
        found = client.ask(GetCheckpoint(extends=size), SignedCheckpoint)
        verifier = VerifierKey.parse(found.key)
        if older is not None:
            old = Checkpoint.open(older, verifier)
            new = check_extension(old, found, verifier)
            note(f"The log of {new.size} events begins with the {old.size} of {str(extends)!r}.")
    text = f"{found.key}\n" if key else found.checkpoint
    say(found.model_dump(mode="json"), lambda console: typer.echo(text, nl=False), as_json=json)


def prove(
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="As `trace` and `search` show it.")],
    out: Annotated[Path | None, typer.Option(help="Write it to a file.", dir_okay=False)] = None,
) -> None:
    """Prove that an event is in the log: one JSON object, checked with `check-proof`."""
    from dominie.commands._people import developer
    from dominie_contracts.audit import InclusionProof, Prove

    with developer() as client:
        found = client.ask(Prove(position=position), InclusionProof)
    text = found.model_dump_json() + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)
        note(f"Written to {str(out)!r}: `dominie audit check-proof` checks it anywhere.")


def check_proof(
    file: ProofFile,
    key: Annotated[str, typer.Option(metavar="VKEY", help="The log's verifier key, from somebody you trust.")],
    json: Json = False,
) -> None:
    """Check a proof with nothing but the log's verifier key. Exit code 1 where it does not hold."""
    from dominie.notes import VerifierKey
    from dominie.proofs import check_inclusion

    with typed():
        found = check_inclusion(file.read_bytes(), VerifierKey.parse(key))
    data = {
        "ok": True,
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "index": found.index,
        "event": found.raw.decode(errors="replace"),
    }
    say(data, lambda console: typer.echo(_shown(found)), as_json=json)


def _shown(found: "Proven") -> str:
    where = f"event {found.index} of the {found.checkpoint.size} in the log {found.checkpoint.origin!r}"
    return f"It holds: {safe(where)}.\n{safe(found.raw.decode(errors='replace'))}"


@contextmanager
def typed() -> Iterator[None]:
    """What does not prove anything is a problem like any other; `kind` says which."""
    from dominie import Invalid
    from dominie.notes import ProofProblem

    try:
        yield
    except ProofProblem as error:
        raise Invalid(f"{error.title.lower()}: {error.detail}", kind=type(error).__name__) from error
