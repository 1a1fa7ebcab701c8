"""`dominie delegate | delegations`, and what a person lets an agent do in one run: `dominie agent token | end-run`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie.commands._show import Json, note, say, table

if TYPE_CHECKING:
    from rich.console import Console

    from dominie import Plan
    from dominie_contracts import Grants
    from dominie_contracts.runs import Delegation

Agent = Annotated[str, typer.Argument(metavar="NAME", help="The agent.")]
For = Annotated[str, typer.Option("--for", metavar="TIME", help="For how long: 30m, 2h, 7d.")]
Tool = Annotated[list[str] | None, typer.Option(help="A tool it may call; none given: all that it may.")]
Model = Annotated[list[str] | None, typer.Option(help="A model it may use; none given: all that it may.")]
Namespace = Annotated[list[str] | None, typer.Option(help="A memory namespace; none given: all that it may.")]
MaxCost = Annotated[float | None, typer.Option("--max-cost-usd", min=0, help="What a run may spend.")]
As = Annotated[str | None, typer.Option("--as", metavar="NAME", help="Who you are; none given: the developer.")]
Key = Annotated[Path | None, typer.Option("--key", metavar="FILE", help="Your key, where it is not in its place.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    from dominie.cli import group

    app.command()(delegate)
    app.command()(delegations)
    agents = group(app, "agent", help="")
    agents.command("token")(token)
    agents.command("end-run")(end_run)


def delegate(
    name: Agent,
    for_: For = "30d",
    tool: Tool = None,
    model: Model = None,
    namespace: Namespace = None,
    max_cost_usd: MaxCost = None,
    end: Annotated[bool, typer.Option("--end", help="Let it act for you no more.")] = False,
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Let an agent act for you, until a time."""
    from dominie.commands._people import agent_principal, person
    from dominie_contracts.runs import Delegate, Delegations, EndDelegation

    principal = agent_principal(name)
    command = EndDelegation(agent=principal) if end else None
    with person(as_, key) as client:
        found = client.ask(
            command
            or Delegate(
                agent=principal,
                grants=_grants(tool, model, namespace),
                expires_s=_until(for_),
                max_cost_usd=max_cost_usd,
            ),
            Delegations,
        )
    say(found.model_dump(mode="json"), lambda console: _table(console, found.delegations), as_json=json)


def delegations(as_: As = None, key: Key = None, json: Json = False) -> None:
    """The agents that you let act for you."""
    from dominie.commands._people import person
    from dominie_contracts.runs import Delegations, ListDelegations

    with person(as_, key) as client:
        found = client.ask(ListDelegations(), Delegations)
    say(found.model_dump(mode="json"), lambda console: _table(console, found.delegations), as_json=json)


def token(
    name: Agent,
    run: Annotated[str, typer.Option(help="The run's id.")],
    for_: For = "1d",
    tool: Tool = None,
    model: Model = None,
    namespace: Namespace = None,
    max_cost_usd: MaxCost = None,
    request: Annotated[str | None, typer.Option(help="What you ask for; the run gets it as your words.")] = None,
    plan: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A plan, as JSON; the run is held to it.", dir_okay=False)
    ] = None,
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Let an agent act for you in one run: a token that it shows within ten minutes. Nothing is sent."""
    from dominie.commands._people import agent_principal, person
    from dominie_contracts.digests import digest_bytes

    principal, until_s, held_to = agent_principal(name), _until(for_), _plan(plan)
    with person(as_, key) as client:
        found = client.credentials.subject_token(
            principal,
            run,
            grants=_grants(tool, model, namespace),
            until_s=until_s,
            max_cost_usd=max_cost_usd,
            request_digest=None if request is None else digest_bytes(request.encode()),
            plan=held_to,
        )
        user = client.agent
    data = {"token": found, "user": user, "agent": principal, "run": run, "until_s": until_s}
    say(data, lambda console: typer.echo(found), as_json=json)
    if not json:
        note(f"{principal} gets run tokens for run {run} until {_utc(until_s)}: run(subject_token=…).")


def end_run(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id.")],
    reason: Annotated[str, typer.Option(help="Why; it is recorded.")] = "",
    as_: As = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """End a run, and those that are part of it, for good."""
    from dominie.commands._people import person
    from dominie_contracts.identity import Done
    from dominie_contracts.runs import EndRun

    with person(as_, key) as client:
        client.ask(EndRun(run=run, reason=reason), Done)
    say({"ended": run}, lambda console: console.print(f"Run {run} is ended.", markup=False), as_json=json)


def _grants(tool: list[str] | None, model: list[str] | None, namespace: list[str] | None) -> "Grants":
    from dominie_contracts import Grants
    from dominie_contracts.token import EVERYTHING

    everything = (EVERYTHING,)
    return Grants(
        tools=tuple(tool or everything), models=tuple(model or everything), namespaces=tuple(namespace or everything)
    )


def _plan(file: Path | None) -> "Plan | None":
    from pydantic import ValidationError

    from dominie import Invalid, Plan

    if file is None:
        return None
    try:
        return Plan.model_validate_json(file.read_bytes())
    except OSError as error:
        raise Invalid(f"{str(file)!r} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "it"
        raise Invalid(f"{str(file)!r} is no plan: {where}: {first['msg']}") from error


def _until(text: str) -> int:
    from dominie.commands._select import span

    try:
        return int((datetime.now(UTC) + span(text)).timestamp())
    except OverflowError:
        from dominie import Invalid

        raise Invalid(f"{text!r} is longer than there are dates") from None


def _utc(unix_s: int) -> str:
    return f"{datetime.fromtimestamp(unix_s, UTC):%Y-%m-%d %H:%M} UTC"


def _table(console: "Console", found: "tuple[Delegation, ...]") -> None:
    rows = [
        (
            each.agent,
            _utc(each.expires_s),
            " ".join(each.grants.tools),
            " ".join(each.grants.models),
            " ".join(each.grants.namespaces),
            "" if each.max_cost_usd is None else f"${each.max_cost_usd:,.2f}",
        )
        for each in found
    ]
    columns = ("agent", "until", "tools", "models", "namespaces", "a run spends")
    table(console, columns, rows, "You let no agent act for you.")
