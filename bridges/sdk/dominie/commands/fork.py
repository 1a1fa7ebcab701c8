"""`dominie fork RUN --at N -- CMD…`: make a run again, from its record up to an event, then live."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, safe

if TYPE_CHECKING:
    from dominie._fork import Made


def register(app: typer.Typer) -> None:
    """Add `fork`."""
    app.command()(fork)


def fork(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD...", help="The program that made it.")],
    at: Annotated[int, typer.Option(help="The event from which on it goes live, as `replay` numbers them.")],
    policy: Annotated[Path | None, typer.Option(metavar="DIR", help="Policies for what goes live.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model for what goes live.")] = None,
    json: Json = False,
) -> None:
    """Run a program again as in an earlier run: what that had done before an event comes from the record, the rest is
    live and real. Where it asks for something else than the record holds, it stops and says so.

    Its exit code is the program's own; 1 where that is 0 and it diverged.
    """
    from dominie._fork import Wanted, make_again

    made = make_again(Wanted(run=run, at=at, policies=policy, model=model), command, quiet=json)
    if json:
        typer.echo(made.model_dump_json())
    _tell(made)
    if made.diverged is not None or not made.opened:
        raise typer.Exit(made.exit_code or 1)
    raise typer.Exit(made.exit_code)


def _tell(made: "Made") -> None:
    if not made.opened:
        note("The program opened no run: it has to use `dominie`, or a bridge, to be made again.")
        return
    if made.diverged is not None:
        note(f"\n{made.diverged.title}, after {_actions(made.served)} from it.")
        note(f"  asked   {safe(str(made.diverged.extra.get('asked', '')))}")
        expected = made.diverged.extra.get("expected")
        for held in expected if isinstance(expected, list) else []:
            note(f"  record  {safe(str(held))}")
    under = f" under policies {made.policies[:8]}" if made.policies else ""
    by = f" with {safe(made.model)}" if made.model else ""
    note(
        f"\n{safe(made.run)} was forked at event {made.at} as {made.fork}: {_actions(made.served)} from the record, "
        f"{_actions(made.live)} live{under}{by}. `dominie replay {made.fork}` steps through it."
    )


def _actions(count: int) -> str:
    return "1 action" if count == 1 else f"{count} actions"
