"""`dominie audit checkpoint | prove | check-proof`."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say
from dominie.commands._witnesses import Quorum, WitnessKeys, witness_keys

if TYPE_CHECKING:
    from dominie.cosignatures import WitnessKey
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
    witness: WitnessKeys = None,
    quorum: Quorum = None,
    json: Json = False,
) -> None:
    """The current signed checkpoint, or the last one that is witnessed: keep it where this machine cannot change it."""
    from dominie.commands._people import developer
    from dominie.cosignatures import check_quorum
    from dominie.notes import Checkpoint, VerifierKey
    from dominie.proofs import check_extension
    from dominie_contracts.audit import GetCheckpoint, SignedCheckpoint

    older = extends.read_text(errors="replace") if extends else None
    with typed(), developer() as client:
        keys, needed = witness_keys(witness, quorum)
        size = None if older is None else Checkpoint.parse(older.partition("\n\n")[0] + "\n").size
        found = client.ask(GetCheckpoint(extends=size, witnessed=bool(keys)), SignedCheckpoint)
        signed = check_quorum(found.checkpoint, keys, needed)
        verifier = VerifierKey.parse(found.key)
        if older is not None:
            old = Checkpoint.open(older, verifier)
            new = check_extension(old, found, verifier)
            note(f"The log of {new.size} events begins with the {old.size} of {str(extends)!r}.")
        if keys:
            note(f"Signed by {len(signed)} of these {len(keys)} witnesses.")
    text = f"{found.key}\n" if key else found.checkpoint
    say(found.model_dump(mode="json"), lambda console: typer.echo(text, nl=False), as_json=json)


def prove(
    position: Annotated[int, typer.Argument(metavar="POSITION", min=1, help="As `trace` and `search` show it.")],
    out: Annotated[Path | None, typer.Option(help="Write it to a file.", dir_okay=False)] = None,
    witnessed: Annotated[bool, typer.Option("--witnessed", help="By the last checkpoint that is witnessed.")] = False,
) -> None:
    """Prove that an event is in the log: one JSON object, checked with `check-proof`."""
    from dominie.commands._people import developer
    from dominie_contracts.audit import InclusionProof, Prove

    with developer() as client:
        found = client.ask(Prove(position=position, witnessed=witnessed), InclusionProof)
    text = found.model_dump_json() + "\n"
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)
        note(f"Written to {str(out)!r}: `dominie audit check-proof` checks it anywhere.")


def check_proof(
    file: ProofFile,
    key: Annotated[str, typer.Option(metavar="VKEY", help="The log's verifier key, from somebody you trust.")],
    witness: WitnessKeys = None,
    quorum: Quorum = None,
    json: Json = False,
) -> None:
    """Check a proof with nothing but verifier keys. Exit code 1 where it does not hold."""
    from dominie.cosignatures import check_quorum
    from dominie.notes import VerifierKey
    from dominie.proofs import check_inclusion

    with typed():
        keys, needed = witness_keys(witness, quorum)
        found = check_inclusion(file.read_bytes(), VerifierKey.parse(key))
        signed = check_quorum(found.note, keys, needed)
    data = {
        "ok": True,
        "origin": found.checkpoint.origin,
        "size": found.checkpoint.size,
        "index": found.index,
        "witnesses": [key.name for key in signed],
        "event": found.raw.decode(errors="replace"),
    }
    say(data, lambda console: typer.echo(_shown(found, signed)), as_json=json)


def _shown(found: "Proven", signed: "Sequence[WitnessKey]") -> str:
    where = f"event {found.index} of the {found.checkpoint.size} in the log {found.checkpoint.origin!r}"
    by = f", as {', '.join(key.name for key in signed)} signed too" if signed else ""
    return f"It holds: {safe(where + by)}.\n{safe(found.raw.decode(errors='replace'))}"


@contextmanager
def typed() -> Iterator[None]:
    """What does not prove anything is a problem like any other; `kind` says which."""
    from dominie import Invalid
    from dominie.notes import ProofProblem

    try:
        yield
    except ProofProblem as error:
        raise Invalid(f"{error.title.lower()}: {error.detail}", kind=type(error).__name__) from error
