"""`dominie labels show | endorse | revoke`."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe, say, table

if TYPE_CHECKING:
    from pydantic import JsonValue
    from rich.console import Console

    from dominie_contracts.audit import Entries, Entry
    from dominie_contracts.endorsing import Endorsement, ShownLabels

_WHERE = {"run": "for this run", "session": "for this session", "tenant": "wherever it is recalled"}
_ACTION = re.compile(r"[0-9a-f]{32}")
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who you are; else who is logged in, or finance.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your key, where it is not in its place.")]


def register(app: typer.Typer) -> None:
    """Add `labels`."""
    labels = typer.Typer(help="How far data can be trusted, and people's word that they can.", no_args_is_help=True)
    labels.command("show")(show)
    labels.command("endorse")(endorse)
    labels.command("revoke")(revoke)
    app.add_typer(labels, name="labels")


def show(
    what: Annotated[str, typer.Argument(metavar="ACTION|RUN", help="A call or a note; or all calls of a run.")],
    at: Annotated[str, typer.Option(metavar="POINTER", help="Only what stands there: /iban.")] = "",
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """How far what a call gave can be trusted, and who has endorsed what of it."""
    from dominie import Invalid
    from dominie.commands._people import person
    from dominie_contracts.audit import Entries, Trail
    from dominie_contracts.endorsing import ShowLabels, ShownLabels

    with person(as_, key) as client:
        if _ACTION.fullmatch(what):
            try:
                found = client.ask(ShowLabels(of=what, pointer=at), ShownLabels)
            except Invalid:
                if at or not client.ask(Trail(run=what), Entries).entries:
                    raise
            else:
                say(found.model_dump(mode="json"), lambda console: _print(console, found), as_json=json)
                return
        told = client.ask(Trail(run=what), Entries)
    if not told.entries:
        raise Invalid(f"there is neither a run nor a call {what!r}; `dominie ps` shows the latest runs")
    rows = _calls(told)
    data = {"run": what, "calls": [dict(zip(("action", "call", "integrity"), row, strict=True)) for row in rows]}
    columns = ("action", "call", "integrity")
    say(data, lambda console: table(console, columns, rows, "No tool has given this run anything."), as_json=json)


def endorse(
    action: Annotated[str, typer.Argument(metavar="ACTION", help="The call whose result it stands in; or a note.")],
    why: Annotated[str, typer.Option(help="How you know; it is recorded.")],
    at: Annotated[str, typer.Option(metavar="POINTER", help="Where in the result: /iban.")] = "",
    value: Annotated[str | None, typer.Option(help="What, where it is only a part of the text there.")] = None,
    to: Annotated[
        str, typer.Option(help="As good as: agent, platform, record; or user, if the run is yours.")
    ] = "record",
    session: Annotated[bool, typer.Option("--session", help="For all runs of its session.")] = False,
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Say that you have looked at one value, and that it is good: for this run, until you revoke it."""
    from pydantic import ValidationError

    from dominie import ApprovalRequired, Invalid
    from dominie.commands._people import approver
    from dominie_contracts.endorsing import Endorse, Endorsement, ShowLabels, ShownLabels

    given = {"of": action, "pointer": at, "to": to, "scope": "session" if session else "run", "note": why}
    try:
        Endorse.model_validate({**given, "value": value})
    except ValidationError as error:
        raise Invalid("; ".join(_wrong(str(each["loc"][0]), given) for each in error.errors())) from None
    with approver(as_, key) as client:
        shown = client.ask(ShowLabels(of=action, pointer=at), ShownLabels)
        said = value if value is not None else _value(shown, at)
        scope = "tenant" if shown.source.startswith("memory:") and not session else given["scope"]
        try:
            found = client.ask(Endorse.model_validate({**given, "scope": scope, "value": said}), Endorsement)
        except ApprovalRequired:
            note("Somebody else has to say yes, with `dominie approvals`: after that, type the same again.")
            raise
    words = f"{_said(found)}; `dominie labels revoke {found.id}` takes it back."
    say(
        found.model_dump(mode="json"), lambda console: console.print(words, markup=False, highlight=False), as_json=json
    )


def revoke(
    endorsement: Annotated[str, typer.Argument(metavar="ENDORSEMENT", help="As `labels show` names it.")],
    why: Annotated[str, typer.Option(help="It is recorded.")] = "",
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Take an endorsement back: what is decided from now on is decided without it."""
    from pydantic import ValidationError

    from dominie import Invalid
    from dominie.commands._people import person
    from dominie_contracts.endorsing import Endorsement, RevokeEndorsement

    try:
        command = RevokeEndorsement(endorsement=endorsement, note=why)
    except ValidationError:
        raise Invalid(f"{endorsement!r} is no endorsement's id (32 hex digits), or the note is too long") from None
    with person(as_, key) as client:
        found = client.ask(command, Endorsement)
    words = safe(f"{found.by}'s endorsement of {found.value!r} counts no more.")
    say(
        found.model_dump(mode="json"), lambda console: console.print(words, markup=False, highlight=False), as_json=json
    )


def _value(shown: "ShownLabels", at: str) -> "JsonValue":
    """What stands there."""
    from dominie import Invalid

    leaves = shown.leaves
    if len(leaves) == 1 and leaves[0].pointer == at:
        return leaves[0].value
    names = ", ".join(each.pointer for each in leaves[:5])
    raise Invalid(f"there are several values, endorse each with --at: {names}")


def _wrong(field: str, given: dict[str, str]) -> str:
    """What is wrong with what somebody typed."""
    return {
        "of": f"{given['of']!r} is no call's id (32 hex digits); `dominie labels show RUN` names those of a run",
        "to": f"there is no integrity {given['to']!r} to become: agent, platform, record or user",
        "note": "--why has 1 to 2,000 characters",
        "pointer": "--at has 1,000 characters at most",
    }.get(field, f"{field} cannot be that")


def _said(found: "Endorsement") -> str:
    where = f" at {found.pointer}" if found.pointer else ""
    better = f"{found.was} -> {found.to}, {_WHERE[found.scope]}"
    return safe(f"{found.by} endorsed {found.value!r}{where} of {found.source}: {better}")


def _calls(told: "Entries") -> list[tuple[str, str, str]]:
    """The calls of a run that gave something: id, what was called, and the worst of what it gave."""
    asked = {each.stream: each.summary.removesuffix(" asked") for each in told.entries if ".requested." in each.type}
    return [
        (each.stream.rpartition(".")[2], asked.get(each.stream, ""), _integrity(each))
        for each in told.entries
        if each.type.startswith("tool.finished.") and each.data.get("outcome") == "ok"
    ]


def _integrity(finished: "Entry") -> str:
    label = finished.data.get("label")
    return str(label["integrity"]) if isinstance(label, dict) else "untrusted"


def _print(console: "Console", found: "ShownLabels") -> None:
    import json

    endorsed = {each.pointer: each for each in found.endorsements if each.whole}
    rows = [
        (
            each.pointer or "(all)",
            json.dumps(each.value, ensure_ascii=False),
            _label(each.integrity, each.pointer, endorsed),
        )
        for each in found.leaves
    ]
    table(console, ("at", "value", "integrity"), rows, "There is nothing.")
    if found.more:
        console.print(f"and {found.more} more: --at narrows it", markup=False, highlight=False)
    for each in found.endorsements:
        console.print(f"{each.id}  {_said(each)}: {safe(each.note)}", markup=False, highlight=False)


def _label(integrity: str, pointer: str, endorsed: "dict[str, Endorsement]") -> str:
    by = endorsed.get(pointer)
    return f"{integrity}; {by.to} says {by.by}" if by else integrity
