"""`dominie up | down | status | doctor | rebuild | serve | provision`; nothing heavy is imported before one runs."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from dominie_kit.keys.folder import KeyFolder

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Folder = Annotated[Path, typer.Option("--folder", help="The project folder.", file_okay=False)]
NatsUrl = Annotated[str | None, typer.Option("--nats-url", envvar="DOMINIE_NATS_URL", help="The broker.")]
Keys = Annotated[Path | None, typer.Option("--keys", envvar="DOMINIE_KEYS", help="The folder of keys.")]
HERE = Path()


def register(app: typer.Typer) -> None:
    """Add the kit's commands to `dominie`."""
    for command in (up, down, status, doctor, rebuild, serve, provision):
        app.command()(command)
    from dominie.cli import APPROVALS_HELP, AUDIT_HELP, KEYS_HELP, group
    from dominie_kit.checks import commands as check_commands
    from dominie_kit.house import segment_commands
    from dominie_kit.keys import approvers
    from dominie_kit.keys import commands as key_commands
    from dominie_kit.policy import commands as policy_commands

    policy_commands.register(app)
    check_commands.register(app)
    segment_commands.register(group(app, "audit", help=AUDIT_HELP))
    key_commands.register(group(app, "keys", help=KEYS_HELP))
    approvers.register(group(app, "approvals", help=APPROVALS_HELP))


def up(
    folder: Folder = HERE,
    keys: Keys = None,
    port: Annotated[int | None, typer.Option(help="The broker's port; else the last one, or a free one.")] = None,
    gateway_port: Annotated[int | None, typer.Option(help="The gateway's port; else the last one, or 8484.")] = None,
    policies: Annotated[
        Path | None,
        typer.Option(envvar="DOMINIE_GUARDRAIL_POLICIES", help="A folder of *.cedar files.", file_okay=False),
    ] = None,
    store: Annotated[
        str | None, typer.Option(envvar="DOMINIE_STORE", help="kurrentdb://HOST:PORT; else nats, the bus itself.")
    ] = None,
    observe: Annotated[
        bool, typer.Option("--observe", help="Enforce no policy: only record what each would have decided.")
    ] = False,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when all is ready.")] = False,
    json: Json = False,
) -> None:
    """Run Dominie on this machine: a broker and every service, until interrupted."""
    import anyio

    from dominie_kit.house.plan import Plan, rights_s_from_environment
    from dominie_kit.house.system import command, hand_on, launch
    from dominie_kit.keys.folder import KeyFolder
    from dominie_kit.policy.folder import read_policies
    from dominie_kit.store import check_store

    with problems():
        folder = _existing(folder)
        plan = Plan(
            folder=folder,
            keys=(keys or KeyFolder.of(folder).path).expanduser().resolve(),
            port=port,
            gateway_port=gateway_port,
            policies=policies and policies.resolve(),
            observe=observe,
            rights_s=rights_s_from_environment(),
            report=json,
        )
        if policies is not None:
            read_policies(policies)
        if store is not None:
            anyio.run(check_store, store)
            os.environ["DOMINIE_STORE"] = store  # not on a command line, which everybody can read
        inherited = hand_on(plan)
        if not detach:
            for handle in inherited:
                os.set_inheritable(handle, True)
            sys.stdout.flush()
            os.chdir(folder)
            os.execv(sys.executable, command(plan))
        _, running = launch(plan, inherited=inherited)
    if json:
        typer.echo(running.model_dump_json())
    else:
        from rich.console import Console

        from dominie_kit.house.summary import print_summary

        print_summary(Console(), plan, running, detached=True)


def down(folder: Folder = HERE, json: Json = False) -> None:
    """Stop what `dominie up` started here."""
    from dominie_kit.house.state import StateFolder
    from dominie_kit.house.system import take_down

    with problems():
        state = StateFolder.find(folder)
        pid = take_down(state)
    say({"stopped": pid, "folder": str(state.project)}, "Dominie is down.", json=json)


def status(folder: Folder = HERE, nats_url: NatsUrl = None, keys: Keys = None, json: Json = False) -> None:
    """How every part is: health, version, memory. Exit code 1 unless all are ready."""
    import anyio

    from dominie_kit.house.state import StateFolder
    from dominie_kit.house.status import ask_status

    with problems():
        state = StateFolder.find(folder)
        here = None if nats_url else state.up()
        url, held = where(state.project, nats_url or (here.nats_url if here else None), keys)
        found = anyio.run(lambda: ask_status(url, held, up=here))
    if json:
        typer.echo(found.model_dump_json())
    else:
        from rich.console import Console

        from dominie_kit.house.status_table import print_status

        print_status(Console(), found)
    if not found.healthy:
        raise typer.Exit(1)


def doctor(json: Json = False) -> None:
    """Whether this machine has what Dominie needs, and what to do where not. Exit code 1 unless it has all of it."""
    from dataclasses import asdict

    from dominie_kit.house.doctor import examine

    checks = list(examine())
    if json:
        say(
            {"healthy": all(check.fine for check in checks), "checks": [asdict(check) for check in checks]},
            None,
            json=True,
        )
    else:
        from rich.console import Console

        from dominie_kit.house.doctor_table import print_checks

        print_checks(Console(), checks)
    if not all(check.fine for check in checks):
        raise typer.Exit(1)


def rebuild(
    service: Annotated[str, typer.Argument(help="Whose read models.")],
    projection: Annotated[str | None, typer.Argument(help="Which one; else all.", show_default=False)] = None,
    folder: Folder = HERE,
    nats_url: NatsUrl = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Build read models anew from the log, while those there go on serving. As the operator."""
    import anyio

    from dominie_kit.house.operator import operator
    from dominie_kit.house.rebuild import Rebuilt
    from dominie_kit.house.rebuild import rebuild as run
    from dominie_kit.house.rebuild_bar import bars

    async def ask() -> Rebuilt:
        async with operator(url, held) as asking:
            with bars(service) as tell:
                return await run(asking, service, projection, tell=tell)

    with problems():
        url, held = where(folder, nats_url, keys)
        done = anyio.run(ask)
    if json:
        typer.echo(done.model_dump_json())


def serve(
    targets: Annotated[list[str], typer.Argument(metavar="TARGET...", help="Installed services.")],
    nats_url: NatsUrl = None,
    keys: Keys = None,
    folder: Folder = HERE,
) -> None:
    """Run services in this one process, until interrupted."""
    from dominie_kit.house.state import StateFolder

    with problems():
        state = StateFolder.find(folder)
        url, held = where(state.project, nats_url, keys)
        for name in targets:
            _check_keys(held, name)
        os.environ |= {"DOMINIE_NATS_URL": url, "DOMINIE_KEYS": str(held.path)}
        os.environ.setdefault("DOMINIE_STATE", str(state.path))
        if nats_url is None:
            os.environ.setdefault("DOMINIE_LOCAL", "true")  # it joins what `dominie up` runs here
        from dominie_kit.runner import main

        main(targets)


def provision(
    nats_url: NatsUrl = None,
    keys: Keys = None,
    replicas: Annotated[int, typer.Option(min=1, max=5, help="Copies of the log; 3 in a cluster.")] = 1,
    folder: Folder = HERE,
    json: Json = False,
) -> None:
    """Create the event log, or bring its settings up to date. The operator's work, once a cluster."""
    import anyio

    from dominie_contracts.subjects import segment_stream
    from dominie_kit.house.broker import provision as create

    with problems():
        url, held = where(folder, nats_url, keys)
        stream = segment_stream(anyio.run(lambda: create(url, held, replicas=replicas)))
    say({"stream": stream, "replicas": replicas}, f"{stream} is there, {replicas}-fold.", json=json)


@contextmanager
def problems() -> Iterator[None]:
    """A problem is one line and exit code 1, not a traceback."""
    from dominie_contracts import Problem
    from dominie_eventstore import EventStoreError
    from dominie_kit.errors import KitError

    try:
        yield
    except (KitError, Problem, EventStoreError) as error:
        typer.echo(f"dominie: {error}", err=True)
        raise typer.Exit(1) from None


def where(folder: Path, nats_url: str | None, keys: Path | None) -> tuple[str, "KeyFolder"]:
    """The broker and the keys: as given, else those of what runs, or ran last, in the project."""
    from dominie_kit.errors import NotUp
    from dominie_kit.house.state import StateFolder
    from dominie_kit.keys.folder import KeyFolder

    state = StateFolder.find(folder)
    client = state.client()
    if nats_url is None and client is None:
        raise NotUp(state.project)
    return nats_url or (client.nats_url if client else ""), KeyFolder(keys.expanduser()) if keys else state.keys()


def _check_keys(keys: "KeyFolder", service: str) -> None:
    """Read what a service will need, so that a key that is missing is said in one line."""
    needed: list[object] = [keys.service(service), keys.signer]
    if service == "identity":
        needed.append(keys.identity)


def _existing(folder: Path) -> Path:
    from dominie_kit.errors import KitError

    if not folder.is_dir():
        raise KitError(f"{str(folder)!r} is no folder: make it first")
    return folder.resolve()


def say(found: dict[str, object], text: str | None, *, json: bool) -> None:
    from json import dumps

    if json:
        typer.echo(dumps(found))
    elif text:
        typer.echo(text)
