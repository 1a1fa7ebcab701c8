"""`dominie ps`: agents' processes and the latest runs."""

from typing import Annotated

import typer

from dominie.commands._show import Json, say, table


def register(app: typer.Typer) -> None:
    """Add `ps`."""
    app.command()(ps)


def ps(
    limit: Annotated[int, typer.Option(min=1, max=200, help="At most so many runs.")] = 20, json: Json = False
) -> None:
    """The agents that live under `dominie exec`, and the latest runs."""
    from rich.console import Console

    from dominie._processes import living
    from dominie._project import Project
    from dominie.commands._people import developer
    from dominie_contracts.audit import ListRuns, Runs
    from dominie_contracts.summary import money

    processes = living(Project.find().folder)
    with developer() as client:
        runs = client.ask(ListRuns(limit=limit), Runs).runs

    def human(console: Console) -> None:
        rows = [(p.agent, p.pid, p.started, " ".join(p.command)) for p in processes]
        table(console, ("agent", "pid", "since", "command"), rows, "No agent runs under `dominie exec`.")
        lines = [
            (r.run, r.agent, r.user or "", r.status, r.events, money(r.cost_usd), r.started[:19].replace("T", " "))
            for r in runs
        ]
        columns = ("run", "agent", "for", "status", "events", "cost", "began")
        table(console, columns, lines, "No runs yet.")

    data = {
        "processes": [process.model_dump(mode="json") for process in processes],
        "runs": [run.model_dump(mode="json") for run in runs],
    }
    say(data, human, as_json=json)
