"""`dominie limits list | show`."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from dominie import Client
    from dominie_contracts.guardrail import Limits, LimitUse
    from dominie_contracts.scheduler import Ceilings, CeilingUse

Most = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many lines of each.")]
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who you are; none given: the developer.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your key, where it is not in its place.")]
COLUMNS = ("policy", "per", "of", "used", "reserved", "left", "most", "begins anew")
RUNS = ("run", "agent", "for", "spent", "left", "may spend", "under way")


def register(app: typer.Typer) -> None:
    """Add `limits`."""
    from dominie.cli import group

    limits = group(app, "limits", help="What calls, and runs, may have together, and what of that is used.")
    limits.command("list")(list_limits)
    limits.command("show")(show)


def list_limits(limit: Most = 50, as_: As = None, key: Key = None, json: Json = False) -> None:
    """The limits in force and what of each is used now, by whom; and what runs with a ceiling have spent."""
    from dominie import Unavailable
    from dominie.commands._people import person
    from dominie_contracts.guardrail import Limits, ListLimits
    from dominie_contracts.scheduler import Ceilings, ListCeilings

    with person(as_, key) as client:
        found = client.ask(ListLimits(most=limit), Limits)
        try:
            runs = client.ask(ListCeilings(most=limit), Ceilings)
        except Unavailable as away:
            runs = None
            note(f"What runs have spent is not shown: {away.detail}")
    rows = [(each.policy, *_cells(each)) for each in found.limits]
    empty = "No policy in force sets a limit: `@limit` or `@calls` on a forbid does."

    def human(console: "Console") -> None:
        table(console, COLUMNS, rows, empty)
        if runs is not None and runs.ceilings:
            table(console, RUNS, map(_spending, runs.ceilings), "")

    say(_data(found, runs), human, as_json=json)
    _tell_more(found, runs, json=json)


def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The `@id` of a policy that sets a limit; or how a run's id begins.")
    ],
    limit: Most = 50,
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """One limit: what it says, and what of it is used now, by whom. Or a run's ceiling, and what it has spent."""
    from dominie.commands._people import person

    with person(as_, key) as client:
        found, runs = _named(client, name, limit)

    def human(console: "Console") -> None:
        if found.limits or not runs.ceilings:
            table(console, COLUMNS[1:], map(_cells, found.limits), "None is yours.")
        else:
            table(console, RUNS, map(_spending, runs.ceilings), "")

    say(_data(found, runs), human, as_json=json)
    _tell_more(found, runs, json=json)
    if found.limits and not json:
        first = found.limits[0]
        what = "the sum of amounts, in minor units" if first.counts == "amount" else "the number of calls"
        note(f"{name}: {first.why}. It limits {what} per {first.per} within the {first.within}, in UTC.")


def _named(client: "Client", name: str, most: int) -> "tuple[Limits, Ceilings]":
    """What is called so: a limit, and else runs."""
    from dominie import Invalid
    from dominie_contracts.guardrail import Limits, ListLimits
    from dominie_contracts.scheduler import Ceilings, ListCeilings

    try:
        return client.ask(ListLimits(policy=name, most=most), Limits), Ceilings(ceilings=())
    except Invalid as unknown:
        runs = client.ask(ListCeilings(run=name, most=most), Ceilings)
        if not runs.ceilings:
            text = f"no policy in force that sets a limit, and no run with a ceiling, is called {name!r}"
            raise Invalid(f"{text}; `dominie limits list` shows both") from unknown
        return Limits(limits=()), runs


def _data(found: "Limits", runs: "Ceilings | None") -> dict[str, object]:
    told = {"runs": None, "more_runs": 0}
    if runs is not None:
        told = {"runs": runs.model_dump(mode="json")["ceilings"], "more_runs": runs.more}
    return {**found.model_dump(mode="json"), **told}


def _spending(use: "CeilingUse") -> tuple[str, ...]:
    from dominie_contracts.summary import money

    spent = use.spent_usd
    told = ("unknown", money(0)) if spent is None else (money(spent), money(max(0.0, use.may_usd - spent)))
    return use.run, use.agent, use.user or "", *told, money(use.may_usd), str(use.under_way or "")


def _cells(use: "LimitUse") -> tuple[str, ...]:
    numbers = (f"{number:,}" for number in (use.used, use.reserved, use.left, use.most))
    return f"{use.per}, {use.within}", use.whom or "nobody yet", *numbers, f"in {timedelta(seconds=use.resets_s)}"


def _tell_more(found: "Limits", runs: "Ceilings | None", *, json: bool) -> None:
    for more, what in ((found.more, "limits"), (runs.more if runs else 0, "runs")):
        if more and not json:
            note(f"{more} more {what}; --limit shows them.")
