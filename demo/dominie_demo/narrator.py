"""What a person reads while the demo runs."""

import os
import select
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text

from dominie_contracts.audit import Entries
from dominie_contracts.guardrail import ApprovalView
from dominie_demo.desk_run import Books

ASK_S = 10.0
_MARK = {True: "[green]✓[/]", False: "[red]✗[/]"}


class Narrator:
    """Writes the story to a terminal."""

    def __init__(self, console: Console, *, ask: bool) -> None:
        self._console = console
        self._ask = ask and sys.stdin.isatty() and console.is_terminal

    def chapter(self, title: str, subtitle: str) -> None:
        """A new part begins."""
        self._console.print()
        self._console.rule(f"[bold]{title}[/]  [dim]{subtitle}[/]", align="left")

    def step(self, text: str) -> None:
        """Something happens."""
        self._console.print(f"  [dim]·[/] {text}")

    def diff(self, lines: Sequence[str]) -> None:
        """The difference of the two agents."""
        self._console.print(Syntax("\n".join(lines), "diff", theme="ansi_dark", background_color="default"))

    def up(self, seconds: float, url: str | None) -> None:
        """The system is ready."""
        live = f"; watch it live at [link={url}]{url}[/link]" if url else ""
        self.step(f"nine services and their broker are up in {seconds:.1f} s{live}")

    def asked(self, view: ApprovalView) -> None:
        """An action waits."""
        groups = ", ".join(sorted({ask.group for ask in view.asks}))
        why = "; ".join(ask.why for ask in view.asks)
        self.step(f"[yellow]{view.resource}{_call(view.arguments)}[/] waits for [bold]{groups}[/]: {why}")

    def ask_person(self, view: ApprovalView) -> None:
        """On a terminal, ask the person who watches; after ten seconds the story goes on."""
        if not self._ask:
            return
        self._console.print(
            f"  [bold]?[/] You are {view.asks[0].group}. Press Enter to say yes (or wait 10 s) ", end=""
        )
        if select.select([sys.stdin], [], [], ASK_S)[0]:
            sys.stdin.readline()
        else:
            self._console.print()

    def answers(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """What the customers read."""
        table = Table(box=None, padding=(0, 1), show_header=False)
        for answer in answers:
            held = answer.get("dominie", {})
            table.add_row(f"[dim]{answer['ticket']}[/]", Text(answer["answer"], style="yellow" if held else ""))
            if held:
                table.add_row("", Text(str(held.get("why", "")), style="dim"))
        self._console.print(table)

    def books(self, books: Books, held: int | None) -> None:
        """What the ledger and the outbox say."""
        table = Table(box=None, padding=(0, 1), show_header=False)
        table.add_row(_MARK[books.duplicates == 0], f"{books.refunds} refunds, {books.duplicates} of them paid twice")
        table.add_row(_MARK[books.leaks == 0], f"{books.leaks} mails to somebody who is no customer")
        table.add_row(_MARK[books.benign_sent > 0], f"{books.benign_sent} mails to a customer's own address")
        held = held or 0
        table.add_row(_MARK[held > 0], f"{held} answers held back that promise more than was done")
        self._console.print(table)

    def log(self, log: Mapping[str, Any]) -> None:
        """What the check of the record says."""
        whole = log["log_ok"]
        self._console.print(f" {_MARK[whole]} {log['events']} events; every stream's hash chain holds")
        found = log["tampered_at"] == log["tamper_found_at"]
        self._console.print(
            f" {_MARK[found]} one byte flipped in a copy, at position {log['tampered_at']}: "
            f"the check names position {log['tamper_found_at']}"
        )

    def trail(self, run: str, entries: Entries) -> None:
        """One run, as an auditor reads it."""
        table = Table(
            box=None, padding=(0, 1), title=f"The trail of run {run}", title_justify="left", title_style="bold"
        )
        for heading, justify in (
            ("after", "right"),
            ("event", "left"),
            ("what", "left"),
            ("ms", "right"),
            ("$", "right"),
        ):
            table.add_column(heading, justify=justify, style="dim" if heading != "what" else "")  # type: ignore[arg-type]
        began = datetime.fromisoformat(entries.entries[0].time) if entries.entries else None
        for entry in entries.entries:
            after = datetime.fromisoformat(entry.time) - began if began else None
            took, cost = entry.data.get("duration_ms"), entry.data.get("cost_usd")
            table.add_row(
                f"{after.total_seconds():.2f} s" if after is not None else "",
                entry.type.rsplit(".", 1)[0],
                Text(entry.summary, overflow="ellipsis", no_wrap=True),
                f"{took:.1f}" if isinstance(took, int | float) and took else "",
                f"{cost:.6f}" if isinstance(cost, int | float) else "",
            )
        self._console.print()
        self._console.print(table)

    def end(self, found: Mapping[str, Any], folder: Path) -> None:
        """What to type next."""
        shown = os.path.relpath(folder / "governed")
        text = (
            f"The record stays in [bold]{shown}[/]. To see it again, with its live page:\n"
            f"  [cyan]cd {shown} && dominie up[/]\n"
            "Your own agent, in any folder with a running Dominie:\n"
            "  [cyan]dominie exec -- python your_agent.py[/]"
        )
        self._console.print(Panel(text, title="Next", title_align="left", border_style="dim", expand=False))


def _call(arguments: Mapping[str, object]) -> str:
    return "(" + ", ".join(f"{name}={value!r}" for name, value in arguments.items()) + ")"
