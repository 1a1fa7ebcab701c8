"""`dominie plan`: what an agent would need for a request, as a plan that a run can be held to."""

from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, arguments_of, note, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from dominie_contracts.plans import Plan


def register(app: typer.Typer) -> None:
    """Add `plan`."""
    app.command()(plan)


def plan(
    request: Annotated[str, typer.Argument(metavar="REQUEST", help="What the user asks for, in their own words.")],
    agent: Annotated[str | None, typer.Option(help="The agent that would do it.")] = None,
    user: Annotated[str | None, typer.Option(help="On whose behalf; none given: yours.")] = None,
    model: Annotated[str, typer.Option(help="The model that plans.")] = "auto",
    json: Json = False,
) -> None:
    """Have a model plan a request from its words and the tools alone; it sees no data.

    With --json it is a plan file, as `dominie agent token --plan FILE` takes it.
    """
    from dominie._sync import Client

    with Client(agent) as client:
        found = client.plan(request, user, model=model)
    say(found.model_dump(mode="json"), lambda console: _table(console, found), as_json=json)
    if not json:
        order = "in this order" if found.ordered else "in any order"
        note(f"The agent may take these steps, {order}, and no others: run(request=…, plan=…).")


def _table(console: "Console", found: "Plan") -> None:
    rows = [(step.tool, step.most, arguments_of(step.fixed) or "-") for step in found.steps]
    table(console, ("tool", "at most", "fixed"), rows, "no steps")
