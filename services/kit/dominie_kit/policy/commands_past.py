"""`dominie policy explain | backtest | suggest`: what policies decided, would decide, and could."""

import json as jsonlib
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie_kit.commands import HERE, Folder, Json, problems, say
from dominie_kit.policy.commands import Policies, known_tools, parsed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from rich.console import Console

    from dominie import Client
    from dominie_contracts.audit import Entry
    from dominie_kit.policy.backtest import Report
    from dominie_kit.policy.explain import Explanation

Since = Annotated[str | None, typer.Option(metavar="TIME", help="A time (2026-11-21) or how long ago (2h, 7d).")]
Until = Annotated[str | None, typer.Option(metavar="TIME", help="As above; not this moment itself.")]
_SHOWN = 50


def register(policy: typer.Typer) -> None:
    """Add them to `dominie policy`."""
    policy.command("explain")(explain)
    policy.command("backtest")(backtest)
    policy.command("suggest")(suggest)


def explain(
    action: Annotated[
        str | None, typer.Argument(metavar="ACTION", help="The action's id, or how it begins.", show_default=False)
    ] = None,
    tool: Annotated[str | None, typer.Option(help="Instead of an action: what if this tool was called?")] = None,
    arguments: Annotated[str, typer.Option(help="With these arguments, a JSON object.")] = "{}",
    untrusted: Annotated[list[str] | None, typer.Option(help="An argument that comes from no record.")] = None,
    agent: Annotated[str, typer.Option(help="By this agent.")] = "a-test",
    user: Annotated[str, typer.Option(help="For this user.")] = "u-test",
    policies: Annotated[
        Path | None, typer.Option(metavar="DIR", help="By these policies, not those in force.", file_okay=False)
    ] = None,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Say which policies decided an action, or would decide a call, and why."""
    from dominie_kit.errors import KitError

    with problems():
        if (action is None) == (tool is None):
            raise KitError("Say which: an action's id, or --tool NAME")
        if action is not None:
            found = _of_action(action, folder)
        else:
            asked = {"tool": tool, "arguments": arguments, "untrusted": untrusted or (), "agent": agent, "user": user}
            found = [_of_call(asked, policies, folder)]
    data: dict[str, object] = {"decisions": [each.model_dump(mode="json") for each in found]}
    say(data, None, json=json)
    if not json:
        _print_explained(found)


def backtest(
    directory: Policies, since: Since = None, until: Until = None, folder: Folder = HERE, json: Json = False
) -> None:
    """Make every recorded decision again under a folder of policies, and show what would change.

    It is open-loop: what an agent would have done after another decision, nobody knows.
    """
    from dominie_kit.policy.backtest import Backtest
    from dominie_kit.policy.folder import read_policies

    with problems():
        test = Backtest(parsed(read_policies(directory)))
        with _decisions(folder, since, until) as entries:
            for entry in _counted(entries, lambda: f"{test.decisions} decisions, {test.changed} would change"):
                test.take(entry)
    say(test.report.model_dump(mode="json"), None, json=json)
    if not json:
        _print_report(test.report)


def suggest(since: Since = None, until: Until = None, folder: Folder = HERE, json: Json = False) -> None:
    """Write policies that permit what agents did, as a start; nothing whose arguments came from no record."""
    from dominie_kit.policy.suggest import Suggesting

    learning = Suggesting()
    with problems(), _decisions(folder, since, until) as entries:
        for entry in _counted(entries, lambda: "reading decisions"):
            learning.take(entry)
    found = learning.suggestion
    say(found.model_dump(mode="json"), found.policies.rstrip("\n"), json=json)


def _of_action(action: str, folder: Path) -> "list[Explanation]":
    from dominie_contracts.action import Decided
    from dominie_contracts.personal import is_hidden
    from dominie_kit.policy.explain import explain as because
    from dominie_kit.policy.history import decisions_of, policies_of
    from dominie_kit.policy.policies import Policies as PolicySet

    found: list[Explanation] = []
    with _auditor(folder) as client:
        for entry in decisions_of(client, action):
            decided = Decided.model_validate(entry.data)
            digest = decided.policy_set
            files = policies_of(client, digest) if digest and not is_hidden(decided.request) else None
            found.append(because(decided, PolicySet(digest, files) if files else None, time=entry.time))
    return found


def _of_call(asked: Mapping[str, object], directory: Path | None, folder: Path) -> "Explanation":
    from pydantic import ValidationError

    from dominie_kit.errors import KitError
    from dominie_kit.policy.cases import Case, decide_case
    from dominie_kit.policy.explain import explain as because
    from dominie_kit.policy.folder import read_policies
    from dominie_kit.policy.history import policies_in_force

    try:
        arguments = jsonlib.loads(str(asked["arguments"]))
        case = Case.model_validate({**asked, "arguments": arguments, "name": str(asked["tool"]), "expect": "allow"})
    except (ValueError, ValidationError) as error:
        raise KitError(f"--arguments is no JSON object: {asked['arguments']!r}") from error
    if directory is not None:
        files = read_policies(directory)
    else:
        with _auditor(folder) as client:
            files = policies_in_force(client)
    policies = parsed(files)
    return because(decide_case(case, policies, known_tools(files, folder)), policies)


@contextmanager
def _auditor(folder: Path) -> "Iterator[Client]":
    """A client who may read what was done in a project."""
    from contextlib import chdir

    from dominie.commands._people import developer
    from dominie_kit.errors import KitError

    if not folder.is_dir():
        raise KitError(f"{str(folder)!r} is no folder")
    with chdir(folder), developer() as client:
        yield client


@contextmanager
def _decisions(folder: Path, since: str | None, until: str | None) -> "Iterator[Iterable[Entry]]":
    from dominie_kit.policy.history import decisions

    with _auditor(folder) as client:
        yield decisions(client, _time(since), _time(until))


def _time(text: str | None) -> "datetime | None":
    from dominie.commands._select import time_of

    return None if text is None else time_of(text)


def _counted(entries: "Iterable[Entry]", told: Callable[[], str]) -> "Iterator[Entry]":
    """The same, with how far it is on standard error where somebody looks."""
    if not sys.stderr.isatty():
        yield from entries
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        for number, entry in enumerate(entries):
            if number % 100 == 0:
                status.update(f"{told()}  {entry.time[:16].replace('T', ' ')}")
            yield entry


def _print_explained(found: "list[Explanation]") -> None:
    from dominie.commands._show import safe

    for each in found:
        when = f"{each.time[:19].replace('T', ' ')}  " if each.time else ""
        typer.echo(safe(f"{when}{each.decision}{': ' if each.why else ''}{'; '.join(each.why)}"))
        if each.observed:
            typer.echo("  NOT ENFORCED: it was only observed")
        for because in each.because:
            asked = f", asks {because.ask.group}" if because.ask else ""
            typer.echo(safe(f"\n  {because.policy} ({because.file}{asked})"))
            typer.echo(safe("\n".join(f"    {line}" for line in because.text.splitlines())))
            for name, value in because.looked_at.items():
                typer.echo(safe(f"    context.{name} is {jsonlib.dumps(value, ensure_ascii=False)}"))
        if not each.known:
            typer.echo("  The policies of then are not to be found, so it cannot be said more closely.")


def _print_report(report: "Report") -> None:
    from rich.console import Console

    from dominie.commands._show import PIPE_WIDTH, table

    typer.echo(
        f"{report.decisions} decisions made again: {report.same} the same, {report.changed} would change, "
        f"{report.undecidable} undecidable."
    )
    for why, count in sorted(report.undecidable_why.items()):
        typer.echo(f"  undecidable, {count} times: {why}")
    console = Console() if sys.stdout.isatty() else Console(width=PIPE_WIDTH)
    if report.rows:
        rows = [
            (row.tool, row.user or "", f"{row.was} -> {row.now}", row.actions, row.amount or "", row.largest or "")
            for row in report.rows
        ]
        table(console, ("tool", "for", "change", "actions", "amount", "largest"), rows, "")
        _print_changes(console, report)
    typer.echo("Open-loop: what an agent would have done after another decision, nobody knows.", err=True)


def _print_changes(console: "Console", report: "Report") -> None:
    from dominie.commands._show import table

    rows = [
        (
            *(each.position, each.action[:12], each.agent, each.user or "", each.tool),
            *("" if each.amount is None else each.amount, f"{each.was} -> {each.now}", ", ".join(each.policies)),
        )
        for each in report.changes[:_SHOWN]
    ]
    table(console, ("event", "action", "agent", "for", "tool", "amount", "change", "by"), rows, "")
    if len(report.changes) > _SHOWN:
        typer.echo(f"and {len(report.changes) - _SHOWN} more: --json has all.", err=True)
