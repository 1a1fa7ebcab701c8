"""`dominie approvals list | show | approve | deny`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from dominie.commands._show import Json, arguments_of, note, safe, say, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue
    from rich.console import Console

    from dominie import Client
    from dominie_contracts.action import Ask
    from dominie_contracts.audit import Entries
    from dominie_contracts.guardrail import Answer, ApprovalView

_WIDENING = "widening"
"""The category of `identity.widen`."""
_ENDORSEMENT = "endorsement"
"""The category of `tool.endorse`."""
_KINDS = ("tools", "models", "namespaces")
_LINE = 300
Action = Annotated[str, typer.Argument(metavar="ACTION", help="The action's id, or how it begins.")]
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who you are; else who is logged in, or finance.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your key, where it is not in its place.")]
Note = Annotated[str, typer.Option(help="Why; it is recorded.")]


def register(app: typer.Typer) -> None:
    """Add `approvals`."""
    from dominie.cli import APPROVALS_HELP, group

    approvals = group(app, "approvals", help=APPROVALS_HELP)
    approvals.command("list")(list_approvals)
    approvals.command("show")(show)
    approvals.command("approve")(approve)
    approvals.command("deny")(deny)


def list_approvals(
    everything: Annotated[bool, typer.Option("--all", help="The answered and the expired ones, too.")] = False,
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """What waits for a person."""
    from dominie.commands._people import approver
    from dominie_contracts.action import whom
    from dominie_contracts.guardrail import Approvals, ListApprovals

    with approver(as_, key) as client:
        told, who = client.ask(ListApprovals(status="all" if everything else "pending"), Approvals), client.agent
    found = told.approvals
    if told.more:
        note(f"There may be {told.more} more, older ones: answer some of these, or `show` one by its id.")
    rows = [
        (each.action[:12], each.status, each.agent, each.user, _call(each), ", ".join(whom(each.left or each.asks)))
        for each in found
    ]
    columns = ("action", "status", "agent", "for", "wants", "asks")
    data = {"approvals": [each.model_dump(mode="json") for each in found], "more": told.more}
    say(data, lambda console: table(console, columns, rows, f"Nothing waits for {who}."), as_json=json)


def show(action: Action, as_: As = None, key: Key = None, json: Json = False) -> None:
    """One action: what it would do with which arguments, why it is asked, and what its run did so far."""
    from dominie import Forbidden
    from dominie.commands._people import approver
    from dominie_contracts.audit import Entries, Trail

    run: Entries | None = None
    with approver(as_, key) as client:
        found = _one(client, action)
        if found.run is not None:
            try:
                run = client.ask(Trail(run=found.run), Entries)
            except Forbidden:
                note("The run itself is for developers and auditors to read.")
    data = {**found.model_dump(mode="json"), "trail": run.model_dump(mode="json")["entries"] if run else None}
    say(data, lambda console: _print(console, found, run), as_json=json)


def approve(action: Action, note: Note = "", as_: As = None, key: Key = None, json: Json = False) -> None:
    """Say yes to exactly this action, with exactly these arguments."""
    _answer(action, "grant", note, as_, key, json=json)


def deny(action: Action, note: Note = "", as_: As = None, key: Key = None, json: Json = False) -> None:
    """Say no."""
    _answer(action, "deny", note, as_, key, json=json)


def _answer(
    action: str, decision: Literal["grant", "deny"], note: str, as_: str | None, key: Path | None, *, json: bool
) -> None:
    from dominie.commands._people import approver
    from dominie_contracts.action import whom

    with approver(as_, key) as client:
        found = _one(client, action)
        left: tuple[Ask, ...] = ()
        if decision == "grant":
            left = client.approve(found, note=note)
        else:
            client.deny(found, note=note)
        by = client.agent
    word = "approved" if decision == "grant" else "denied"
    waits = f" It still waits for {', '.join(whom(left))}." if left else ""
    data = {
        "action": found.action,
        "digest": found.digest,
        "decision": decision,
        "by": by,
        "left": [ask.model_dump(mode="json") for ask in left],
    }
    text = safe(f"{by} {word} {_call(found)} of {found.agent} for {found.user}.{waits}")
    say(data, lambda console: console.print(text, markup=False, highlight=False), as_json=json)


def _one(client: "Client", action: str) -> "ApprovalView":
    from dominie import Invalid
    from dominie_contracts.guardrail import Approvals, ListApprovals

    found = client.ask(ListApprovals(status="all", action=action, most=2), Approvals)
    if len(found.approvals) != 1 or found.more:
        many = "several actions begin" if found.approvals or found.more else "no action begins"
        raise Invalid(f"{many} with {action!r}; `dominie approvals list --all` shows what there is")
    return found.approvals[0]


def _call(found: "ApprovalView") -> str:
    """What it wants, in one line that a terminal has room for; `show` has all of it."""
    if not found.whole:
        return f"{_what(found)}(…: `show` has them)"
    if found.category == _WIDENING:
        return _clipped(f"more: {', '.join(f'{name.strip()} {value}' for name, value in _wants(found)[1:])}")
    return _clipped(f"{_what(found)}({arguments_of(found.arguments)})")


def _what(found: "ApprovalView") -> str:
    what = found.resource or found.command
    return f"endorse in {what}" if found.category == _ENDORSEMENT else what


def _clipped(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[:_LINE]}…"


def _wants(found: "ApprovalView") -> list[tuple[str, str]]:
    """What it would do, with which arguments; of a widening, what would be added."""
    import json

    given = dict(found.arguments)
    if found.category != _WIDENING:
        told = ((f"  {name}", json.dumps(value, ensure_ascii=False)) for name, value in given.items())
        return [("wants", _what(found)), *told]
    usd, now, why = (given.pop(name, None) for name in ("max_cost_usd", "now_usd", "reason"))
    spends = [] if usd is None or now is None else [("  spends", f"${usd:,.2f} in all instead of ${now:,.2f}")]
    added = [(f"  {kind}", _added(given, kind)) for kind in _KINDS if kind in given]
    because = [("  because", json.dumps(why, ensure_ascii=False))] if why else []
    return [("wants", "more than its run was let"), *added, *spends, *because]


def _added(given: "Mapping[str, JsonValue]", kind: str) -> str:
    """The names that would be added, beside those that the run has."""
    more, now = (given.get(key) for key in (kind, f"now_{kind}"))
    named = ", ".join(map(str, more)) if isinstance(more, list) else ""
    if not isinstance(now, list):
        return named
    return f"{named}, beside {', '.join(map(str, now))}" if now else f"{named}; it has none"


def _said(answer: "Answer") -> str:
    word = "yes" if answer.decision == "grant" else "no"
    return f"{word} ({', '.join(answer.policies)})" + (f": {answer.note}" if answer.note else "")


def _print(console: "Console", found: "ApprovalView", run: "Entries | None") -> None:
    from datetime import UTC, datetime

    from rich.table import Table
    from rich.text import Text

    from dominie.commands.audit import print_entries
    from dominie_contracts.action import whom

    until = datetime.fromtimestamp(found.expires_ms / 1000, UTC)
    facts = [
        ("action", found.action),
        ("status", found.status),
        *((f"  {each.by}", _said(each)) for each in found.answers),
        ("agent", found.agent),
        ("for", found.user),
        *_wants(found),
        *((f"  {place} is", label) for place, label in found.labels.items()),
        *((f"asks {', '.join(whom([ask]))}", f"{ask.why} ({ask.policy})") for ask in found.asks),
        *((("waits for", ", ".join(whom(found.left))),) if found.status == "pending" else ()),
        ("until", f"{until:%Y-%m-%d %H:%M:%S} UTC"),
        ("digest", found.digest),
    ]
    grid = Table.grid(padding=(0, 2))
    grid.add_column()
    grid.add_column(overflow="fold")  # nothing is cut off: they answer for all of it
    for name, value in facts:
        grid.add_row(Text(safe(name), style="dim"), Text(safe(value)))
    console.print(grid)
    if run is not None:
        console.print(Text("\nthe run so far", style="dim"))
        print_entries(console, run)
