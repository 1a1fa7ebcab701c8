"""`dominie audit artifact | artifacts`."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say

if TYPE_CHECKING:
    from dominie import Client
    from dominie_contracts.artifact import Chunk
    from dominie_contracts.audit import ArtifactsHeld

Name = Annotated[str, typer.Argument(metavar="NAME", help="As the record has it.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="FILE", dir_okay=False, help="Write it to a file.")]


def register(audit: typer.Typer) -> None:
    """Add the commands of artifacts."""
    audit.command("artifact")(artifact)
    audit.command("artifacts")(artifacts)


def artifact(name: Name, out: Out = None, json: Json = False) -> None:
    """The value that an artifact stands for, checked against the digest that names it."""
    from hashlib import sha256

    from dominie.commands._pages import writing
    from dominie.commands._people import developer
    from dominie_contracts.artifact import size_text

    digest = sha256()
    with developer() as client:
        first = _chunk(client, name, 0)
        found = first.reference
        with nullcontext() if json and out is None else writing(out) as file:
            for data in _parts(client, first):
                digest.update(data)
                if file is not None:
                    file.write(data)
    said = {**found.model_dump(), "sha256": digest.hexdigest(), "file": str(out) if out else None}
    if json:
        say(said, lambda console: None, as_json=True)
    where = f" to {str(out)!r}" if out else ""
    note(f"{size_text(found.size)} of {found.media_type}{where}; its digest is the one that names it.")


def artifacts(json: Json = False) -> None:
    """How many artifacts are held, and how many were swept."""
    from dominie.commands._people import developer
    from dominie_contracts.audit import ArtifactsHeld, CountArtifacts

    with developer() as client:
        found = client.ask(CountArtifacts(), ArtifactsHeld)
    say(found.model_dump(), lambda console: console.print(_told(found)), as_json=json)


def _told(found: "ArtifactsHeld") -> str:
    from dominie_contracts.artifact import size_text

    held = f"{found.artifacts} artifacts are held, in {found.chunks} chunks: {size_text(found.bytes)} on disk."
    if found.swept_at is None:
        return f"{held} Nothing was swept yet."
    swept = f"{found.swept} pieces were swept ({size_text(found.swept_bytes)})" if found.swept else "nothing was swept"
    return f"{held} Since audit started {swept}; it last looked at {found.swept_at}."


def _parts(client: "Client", first: "Chunk") -> Iterator[bytes]:
    """An artifact's bytes, asked for as they are taken."""
    from base64 import b64decode

    yield b64decode(first.data)
    for index in range(1, first.chunks):
        yield b64decode(_chunk(client, first.reference.name, index).data)


def _chunk(client: "Client", name: str, index: int) -> "Chunk":
    from pydantic import ValidationError

    from dominie import Invalid
    from dominie_contracts.artifact import Chunk
    from dominie_contracts.audit import FetchArtifact

    try:
        command = FetchArtifact(name=name, index=index)
    except ValidationError as error:
        raise Invalid(f"{name!r} names no artifact: it is 32 hex digits, as `dominie trace` shows them") from error
    return client.ask(command, Chunk)
