"""`dominie replay RUN`: step through a run as it was."""

from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from dominie_contracts.audit import Entry
    from dominie_contracts.replay import Deed, Standing


def register(app: typer.Typer) -> None:
    """Add `replay`."""
    app.command()(replay)


def replay(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    until: Annotated[int | None, typer.Option(min=1, help="Stop after so many events.")] = None,
    json: Json = False,
) -> None:
    """Step through a run as it was, and say how it stood then. Nothing is done again: it is all read from the log."""
    from dominie import Invalid
    from dominie._trail import whole_trail
    from dominie.commands._people import developer
    from dominie_contracts.replay import standing

    with developer() as client:
        entries = whole_trail(client, run)
    if until is not None and until > len(entries):
        raise Invalid(f"the run {run!r} has {len(entries)} events, not {until}")
    seen = entries[:until]
    stood = standing(run, seen, events=len(entries))
    steps = [entry.model_dump(mode="json") for entry in seen]
    data = {**stood.model_dump(mode="json"), "steps": steps}
    say(data, lambda console: _print(console, seen, stood), as_json=json)


def _print(console: "Console", entries: list["Entry"], stood: "Standing") -> None:
    from rich.text import Text

    digits = len(str(stood.events))
    for number, entry in enumerate(entries, 1):
        when = entry.time[11:23].rstrip("Z")
        what = safe(f"{entry.type.rpartition('.v')[0]:<22} {entry.summary}")
        console.print(
            Text.assemble((f"{number:>{digits}}  {when:<12} ", "dim"), (f"{safe(entry.agent):<16} ", "cyan"), what)
        )
    console.print(f"\nAfter event {stood.after} of {stood.events} the run was {stood.status}:", highlight=False)
    rows = [(_asked(deed), deed.status, _decided(deed), _came_of(deed)) for deed in stood.deeds]
    table(console, ("action", "status", "decision", "what came of it"), rows, "Nothing had been asked for.")
    if stood.after < stood.events:
        note(f"{stood.events - stood.after} more events are on record; leave `--until` away to see them.")


def _asked(deed: "Deed") -> str:
    from dominie_contracts.summary import signature

    return signature(deed.command, deed.resource, deed.arguments)


def _decided(deed: "Deed") -> str:
    if deed.decision is None:
        return ""
    policies = ", ".join(deed.policies)
    yes = f", {' and '.join(deed.approved_by)} said yes" if deed.approved_by else ""
    return f"{deed.decision} ({policies}){yes}" if policies else f"{deed.decision}{yes}"


def _came_of(deed: "Deed") -> str:
    from json import dumps

    from dominie_contracts.summary import clip

    if deed.problem is not None:
        return deed.problem
    return clip(dumps(deed.result, ensure_ascii=False), 120) if deed.status == "finished" else ""
