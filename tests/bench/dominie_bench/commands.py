"""`dominie bench …`."""

import json
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from dominie_bench.children import sigterm_as_ctrl_c


class Suite(StrEnum):
    """AgentDojo's suites."""

    BANKING = "banking"
    SLACK = "slack"
    TRAVEL = "travel"
    WORKSPACE = "workspace"
    ALL = "all"


class Attack(StrEnum):
    """How the agent is attacked."""

    HIJACK = "hijack"


Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]


def register(app: typer.Typer) -> None:
    """Add the benchmarks to the command line."""
    bench = typer.Typer(
        no_args_is_help=True, callback=_interruptible, help="Measure Dominie beside a floor, in the same run."
    )
    bench.command("governed-call")(governed_call)
    bench.command("append")(append)
    bench.command("replay")(replay)
    bench.command("growth")(growth)
    bench.command("connect")(connect)
    bench.command("flood")(flood)
    bench.command("limits")(limits)
    bench.command("sandbox")(sandbox)
    bench.command("agentdojo")(agentdojo)
    bench.command("decision")(decision)
    bench.command("backtest")(backtest)
    app.add_typer(bench, name="bench")


def _interruptible(context: typer.Context) -> None:
    context.with_resource(sigterm_as_ctrl_c())


def governed_call(
    calls: Annotated[int, typer.Option(help="Calls at each number in flight.", min=10)] = 4000, json: Json = False
) -> None:
    """A read-only worker tool called through everything, beside plain NATS with one fsynced publish."""
    from dominie_bench.governed_call import run

    _print(run(calls, _say), as_json=json)


def append(
    appends: Annotated[int, typer.Option(help="Appends one at a time; eight times as many together.", min=10)] = 4000,
    stale: Annotated[float, typer.Option(help="Which share comes too late, at 256 in flight.", min=0, max=1)] = 0.0,
    json: Json = False,
) -> None:
    """Fsynced appends, each of one event to its own new stream, beside one plain fsynced publish."""
    if stale:
        from dominie_bench.stale import run as run_stale

        _print(run_stale(appends, stale, _say), as_json=json)
    else:
        from dominie_bench.append import run

        _print(run(appends, _say), as_json=json)


def replay(
    events: Annotated[int, typer.Option(help="Events in the log.", min=1)] = 200_000,
    per_append: Annotated[int, typer.Option(help="Events in each append.", min=1, max=64)] = 64,
    json: Json = False,
) -> None:
    """A whole log read, each event decoded and each chain of hashes checked."""
    from dominie_bench.replay import run

    _print(run(events, per_append, _say), as_json=json)


def growth(
    actions: Annotated[int, typer.Option(help="So many, of three events each.", min=100)] = 1_000_000,
    json: Json = False,
) -> None:
    """Many actions in segments that are archived: what the broker takes, its restart, and reads of old actions."""
    from dominie_bench.growth import run

    _print(run(actions, _say), as_json=json)


def connect(
    connects: Annotated[int, typer.Option(help="Connections of each kind.", min=10)] = 300, json: Json = False
) -> None:
    """Connections through the auth callout beside a static key, and how soon who is revoked is out."""
    from dominie_bench.connect import run

    _print(run(connects, _say), as_json=json)


def flood(
    seconds: Annotated[float, typer.Option(help="How long each flood lasts, and the calm before.", min=1)] = 10.0,
    json: Json = False,
) -> None:
    """An agent floods, with what it may send and what not; how another tenant's calls go meanwhile."""
    from dominie_bench.flood import run

    _print(run(seconds, _say), as_json=json)


def sandbox(
    calls: Annotated[int, typer.Option(help="Calls of each kind, one after the other.", min=10)] = 200,
    json: Json = False,
) -> None:
    """A tool called in a new box of each back end, and in one that waited for it."""
    from dominie_bench.sandbox import run

    _print(run(calls, _say), as_json=json)


def limits(
    shares: Annotated[int, typer.Option(help="Shares one at a time; eight times as many together.", min=10)] = 1000,
    json: Json = False,
) -> None:
    """Shares of one limit of one tenant, reserved with guardrail: alone, and 256 at once."""
    from dominie_bench.limits import run

    _print(run(shares, _say), as_json=json)


def agentdojo(
    suite: Annotated[Suite, typer.Option(help="Which of AgentDojo's suites; all only with --attack.")] = Suite.BANKING,
    attack: Annotated[Attack | None, typer.Option(help="An agent that obeys every injection it meets.")] = None,
    undefended: Annotated[bool, typer.Option("--undefended", help="Under no policies but a permit.")] = False,
    evade: Annotated[
        bool, typer.Option("--evade", help="Its arguments are encoded, which tools undo; then its page is.")
    ] = False,
    limit: Annotated[int | None, typer.Option(help="So many user tasks of each suite.", min=1)] = None,
    planner: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Then again, held to plans that this model writes.")
    ] = None,
    json: Json = False,
) -> None:
    """AgentDojo's ground truth played through the bus, judged by AgentDojo's own checks.

    With --attack each user task is played alone, and with each injection, under the policies of `dominie policy
    library`. People are simulated: who is asked says yes to the user's own calls, signed as ever, and nothing to the
    attacker's. Shares are of one; `seen` is how many of the attacks the agent met. `with_plan` is null
    but with --planner, a model that `DOMINIE_MODEL_OFFERS` offers: it sees what the user asks for and the tools alone.
    """
    if attack is not None:
        from dominie_bench.hijack import run as run_attack

        names = [each.value for each in Suite if each is not Suite.ALL] if suite is Suite.ALL else [suite.value]
        found = run_attack(names, undefended=undefended, evade=evade, limit=limit, planner=planner, say=_say)
        _print(found, as_json=json)
    elif suite is Suite.ALL or limit is not None or evade or undefended or planner is not None:
        raise typer.BadParameter("--suite all, --undefended, --evade, --limit and --planner go with --attack")
    else:
        from dominie_bench.agentdojo import run

        _print(run(suite.value, _say), as_json=json)


def decision(
    policies: Annotated[int, typer.Option(help="So many in the set.", min=3)] = 50,
    passes: Annotated[int, typer.Option(help="So often over all calls.", min=1)] = 20,
    json: Json = False,
) -> None:
    """Decisions on the calls of AgentDojo's suites, schema check and reasons included, made anew and known already."""
    from dominie_bench.decision import run

    _print(run(policies, passes, _say), as_json=json)


def backtest(
    calls: Annotated[int, typer.Option(help="Calls on record, each made again live.", min=10)] = 10_000,
    json: Json = False,
) -> None:
    """Recorded decisions made again under the same policies, and under others beside a live run."""
    from dominie_bench.backtest import run

    _print(run(calls, _say), as_json=json)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _print(result: Mapping[str, object], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(result))
        return
    from rich.console import Console
    from rich.pretty import Pretty

    Console().print(Pretty(dict(result), expand_all=True))


BENCH = Path(__file__).parent
"""This package's folder: benchmarks start programs from it."""
