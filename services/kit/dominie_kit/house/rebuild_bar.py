"""The progress of rebuilds, for people: a bar for each read model, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from dominie_contracts.operations import ReadModel


@contextmanager
def bars(service: str) -> Iterator[Callable[[ReadModel], None]]:
    """Show what the function is told."""
    shown: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %  [dim]{task.fields[told]}[/]"),
    )
    progress = Progress(*columns, console=Console(stderr=True))

    def tell(model: ReadModel) -> None:
        if not shown:
            progress.start()
        if model.name not in shown:
            shown[model.name] = progress.add_task(f"{service} {model.name}", total=100.0, told="")
        progress.update(shown[model.name], completed=model.percent, told=_told(model))

    try:
        yield tell
    finally:
        if shown:
            progress.stop()


def _told(model: ReadModel) -> str:
    if model.state == "failed":
        return model.why or "failed"
    return f"{model.events:,} events in {model.seconds:.1f} s, {model.rate_per_s:,.0f}/s"
