"""`dominie limits list | show`."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say, table

if TYPE_CHECKING:
    from dominie_contracts.guardrail import Limits, LimitUse

Most = Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many lines: least left first.")]
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who you are; none given: the developer.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your key, where it is not in its place.")]
COLUMNS = ("policy", "per", "of", "used", "reserved", "left", "most", "begins anew")


def register(app: typer.Typer) -> None:
    """Add `limits`."""
    from dominie.cli import group

    limits = group(app, "limits", help="What calls may have together, and what of that is used.")
    limits.command("list")(list_limits)
    limits.command("show")(show)


def list_limits(limit: Most = 50, as_: As = None, key: Key = None, json: Json = False) -> None:
    """The limits in force, and what of each is used now, by whom."""
    found = _ask(None, limit, as_, key)
    rows = [(each.policy, *_cells(each)) for each in found.limits]
    empty = "No policy in force sets a limit: `@limit` or `@calls` on a forbid does."
    say(found.model_dump(mode="json"), lambda console: table(console, COLUMNS, rows, empty), as_json=json)
    _tell_more(found, json=json)


def show(
    policy: Annotated[str, typer.Argument(metavar="POLICY", help="The `@id` of a policy that sets a limit.")],
    limit: Most = 50,
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """One limit: what it says, and what of it is used now, by whom."""
    found = _ask(policy, limit, as_, key)
    rows = [_cells(each) for each in found.limits]
    say(
        found.model_dump(mode="json"), lambda console: table(console, COLUMNS[1:], rows, "None is yours."), as_json=json
    )
    _tell_more(found, json=json)
    if found.limits and not json:
        first = found.limits[0]
        what = "the sum of amounts, in minor units" if first.counts == "amount" else "the number of calls"
        note(f"{policy}: {first.why}. It limits {what} per {first.per} within the {first.within}, in UTC.")


def _ask(policy: str | None, most: int, as_: str | None, key: Path | None) -> "Limits":
    from dominie.commands._people import person
    from dominie_contracts.guardrail import Limits, ListLimits

    with person(as_, key) as client:
        return client.ask(ListLimits(policy=policy, most=most), Limits)


def _cells(use: "LimitUse") -> tuple[str, ...]:
    numbers = (f"{number:,}" for number in (use.used, use.reserved, use.left, use.most))
    return f"{use.per}, {use.within}", use.whom or "nobody yet", *numbers, f"in {timedelta(seconds=use.resets_s)}"


def _tell_more(found: "Limits", *, json: bool) -> None:
    if found.more and not json:
        note(f"{found.more} more; --limit shows them.")
