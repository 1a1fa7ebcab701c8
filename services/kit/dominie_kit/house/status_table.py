"""A deployment's status, for people."""

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dominie_contracts.operations import ReadModel
from dominie_kit.house.status import Part, Status

_COLOUR = {"ready": "green", "starting": "yellow", "away": "red"}


def print_status(console: Console, status: Status) -> None:
    """One line a process, and the sum."""
    table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim", show_footer=True, footer_style="bold")
    table.add_column("", footer="all", no_wrap=True)
    for title in ("health", "version"):
        table.add_column(title)
    for title in ("pid", "up", "restarts", "handled", "refused"):
        table.add_column(title, justify="right")
    table.add_column("RSS", justify="right", footer=_mb(status.rss_mb))
    table.add_column("PSS", justify="right", footer=_mb(status.pss_mb))
    for name, part in status.parts.items():
        table.add_row(name, *_row(part))
    console.print(table)
    for name, part in status.parts.items():
        for model in part.rebuilding:
            console.print(f"{name}: {_rebuilding(model)}", highlight=False)
        if part.reason and part.health != "ready":
            console.print(f"[red]{name} ended:[/] {escape(part.reason)}", soft_wrap=True)
    live = f"   [dim]live page[/]  {status.gateway_url}/" if status.gateway_url else ""
    console.print("[dim]memory in MB; PSS counts once what processes share[/]")
    store = f"   [dim]store[/]  {status.store}" if status.store else ""
    console.print(f"\n[dim]bus[/]  {status.nats_url}{store}{live}")


def _rebuilding(model: ReadModel) -> str:
    if model.state == "failed":
        return (
            f"read model {model.name} [red]could not be rebuilt[/], the one before it serves: {escape(model.why or '')}"
        )
    told = f"{model.percent:.0f} %, {model.events:,} events, {model.rate_per_s:,.0f}/s"
    return f"[yellow]{model.state}[/] its read model {model.name}: {told}"


def _row(part: Part) -> tuple[str, ...]:
    return (
        f"[{_COLOUR[part.health]}]{part.health}[/]",
        part.version or "",
        _text(part.pid),
        _time(part.uptime_s),
        str(part.restarts or ""),
        _text(part.handled),
        _text(part.refused),
        _mb(part.rss_mb),
        _mb(part.pss_mb),
    )


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _time(seconds: float | None) -> str:
    """`42s`, `7m`, `3h 5m`, `2d 4h`."""
    if seconds is None:
        return ""
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if days:
        return f"{days}d {hours % 24}h"
    if hours:
        return f"{hours}h {minutes % 60}m"
    return f"{minutes}m" if minutes else f"{seconds:.0f}s"
