"""`dominie audit verify`, `dominie trace RUN`; with the modules that it registers, all of `dominie audit`."""

from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands import artifact, bundle, erase, export, proofs, search
from dominie.commands._show import Json, note, safe, say
from dominie.commands._witnesses import Quorum, WitnessKeys, check_witnessed, witness_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from dominie import Client
    from dominie.cosignatures import WitnessKey
    from dominie_contracts.audit import Entries, LogReport


def register(app: typer.Typer) -> None:
    """Add `audit` and `trace`."""
    from dominie.cli import AUDIT_HELP, group

    audit = group(app, "audit", help=AUDIT_HELP)
    audit.command("verify")(verify)
    for module in (search, export, bundle, artifact, proofs, erase):
        module.register(audit)
    app.command()(trace)


def verify(witness: WitnessKeys = None, quorum: Quorum = None, json: Json = False) -> None:
    """Check every stream's hash chain, and the log against its last checkpoint. Exit code 1 where it does not hold."""
    from dominie.commands._people import developer
    from dominie_contracts.audit import LogReport, VerifyLog

    with proofs.typed():
        keys, needed = witness_keys(witness, quorum)
    with developer() as client:
        found = client.ask(VerifyLog(), LogReport)
        if keys and found.ok:
            found = _checked(client, found, keys, needed)
    say(found.model_dump(mode="json"), lambda console: console.print(_report(found)), as_json=json)
    if not found.ok:
        raise typer.Exit(1)


def _checked(client: "Client", found: "LogReport", keys: "Sequence[WitnessKey]", quorum: int) -> "LogReport":
    """The report, where the witnesses' signatures are checked here and not taken on audit's word."""
    from dominie.notes import ProofProblem

    try:
        size, names = check_witnessed(client, keys, quorum)
    except ProofProblem as error:
        why = f"{error.title.lower()}: {error.detail}"
        return found.model_copy(update={"ok": False, "why": why, "witnessed": None, "witnesses": ()})
    return found.model_copy(update={"witnessed": size, "witnesses": names})


def trace(run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")], json: Json = False) -> None:
    """Every event of one run, in order; and of what was refused or asked about, where it came from."""
    from dominie import Invalid
    from dominie.commands._origins import origins, print_origins
    from dominie.commands._people import developer
    from dominie_contracts.audit import Entries, Search, Trail

    with developer() as client:
        found = client.ask(Trail(run=run), Entries)
        came = origins(
            found.entries,
            lambda action: client.ask(Search(action=action, earliest=True), Entries).entries,
        )
    if not found.entries:
        raise Invalid(f"no run {run!r} is on record; `dominie ps` shows the latest")

    def human(console: "Console") -> None:
        print_entries(console, found)
        print_origins(console, came)

    data = {**found.model_dump(mode="json"), "origins": [origin.model_dump(mode="json") for origin in came]}
    say(data, human, as_json=json)


def print_entries(console: "Console", found: "Entries") -> None:
    """Events as lines: when, who, what."""
    from rich.text import Text

    for entry in found.entries:
        when = entry.time[11:23].rstrip("Z")
        what = safe(f"{entry.type.rpartition('.v')[0]:<22} {entry.summary}")
        console.print(Text.assemble((f"{when:<12} ", "dim"), (f"{safe(entry.agent):<16} ", "cyan"), what))
    if not found.entries:
        note("Nothing fits.")
    if found.truncated:
        note("There is more; narrow the search.")


def _report(found: "LogReport") -> str:
    if found.ok:
        whole = f"The log is whole: {found.events} events in {found.streams} streams. {_covered(found)}"
        return whole if found.witnessed is None else f"{whole} {_signed(found)}"
    if found.broken_at is None:
        return f"The log is BROKEN: {safe(found.why)}"
    stream = f", {safe(found.stream)}" if found.stream and found.stream != "?" else ""
    version = f" version {found.version}" if found.version is not None else ""
    return f"The log is BROKEN at position {found.broken_at}{stream}{version}: {safe(found.why)}"


def _signed(found: "LogReport") -> str:
    return f"{', '.join(map(safe, found.witnesses))} witnessed the first {found.witnessed}."


def _covered(found: "LogReport") -> str:
    """What protects which events."""
    alone = "protected by the hash chains of their streams alone"
    if found.checkpoint is None:
        return f"No checkpoint is signed yet: they are {alone}."
    if found.checkpoint >= found.events:
        return f"All of them are those of the last signed checkpoint{_kept(found.durability)}."
    newer, of = found.events - found.checkpoint, f"the last signed checkpoint{_kept(found.durability)}"
    return f"The first {found.checkpoint} are those of {of}; the {newer} newer are {alone}."


def _kept(durability: str | None) -> str:
    """What the checkpoint says stood behind its appends."""
    kind, _, replicas = (durability or "").partition(" ")
    match kind:
        case "fsync":
            return " (synced to disk on one node)"
        case "quorum":
            return f" (agreed on by most of {safe(replicas)} replicas)"
        case "none":
            return " (in memory only)"
        case _:
            return ""
