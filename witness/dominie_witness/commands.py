"""`dominie witness serve | key`. Nothing heavy is imported before a command runs."""

from collections.abc import Iterator
from contextlib import contextmanager
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dominie.cosignatures import WitnessKey

StateFolder = Annotated[Path, typer.Option("--state", help="The witness's own folder.", file_okay=False)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add `witness`."""
    witness = typer.Typer(help="Sign that a log only grows, on a machine of its own.", no_args_is_help=True)
    witness.command("serve")(serve)
    witness.command("key")(key)
    app.add_typer(witness, name="witness")


def serve(
    state: StateFolder,
    log: Annotated[list[str], typer.Option("--log", metavar="VKEY", help="A log's verifier key; repeat it for more.")],
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where; port 0 for a free one.")] = "127.0.0.1:8765",
    name: Annotated[str | None, typer.Option(help="What a new key is called, best a host's name.")] = None,
    json: Json = False,
) -> None:
    """Sign checkpoints of these logs, each only if it extends the last one signed here, until interrupted."""
    from dominie.notes import VerifierKey
    from dominie_witness.server import serve

    def ready(url: str, key: "WitnessKey") -> None:
        if json:
            typer.echo(dumps({"url": url, "key": str(key)}))
        else:
            typer.echo(f"The witness {key.name!r} listens on {url}; its key, for audit and for auditors:", err=True)
            typer.echo(str(key))

    with _problems():
        serve(state, [VerifierKey.parse(each) for each in log], _address(listen), name=name, on_ready=ready)


def key(state: StateFolder, json: Json = False) -> None:
    """Print the witness's verifier key."""
    from dominie_witness.state import State

    with _problems():
        found = State(state).cosigner().key
    typer.echo(dumps({"name": found.name, "key": str(found)}) if json else str(found))


@contextmanager
def _problems() -> Iterator[None]:
    """What goes wrong, as the command line says it."""
    from dominie.notes import ProofProblem
    from dominie_contracts import Invalid, Unavailable
    from dominie_witness.state import StateProblem

    try:
        yield
    except ProofProblem as error:
        raise Invalid(f"{error.title.lower()}: {error.detail}", kind=type(error).__name__) from error
    except (StateProblem, OSError) as error:
        raise Unavailable(str(error), kind=type(error).__name__) from error


def _address(text: str) -> tuple[str, int]:
    from dominie_contracts import Invalid

    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise Invalid(f"{text!r} is no HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
