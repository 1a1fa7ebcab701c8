"""`dominie policy check | test | publish`; what looks back is in `commands_past`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dominie_kit.commands import HERE, Folder, Json, Keys, NatsUrl, problems, say, where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dominie_contracts.guardrail import PolicyFile, Published
    from dominie_contracts.tool import ToolSpec
    from dominie_kit.policy.policies import Policies as PolicySet

Policies = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of *.cedar files.")]
_WAIT_S, _ASK_S = 15.0, 3.0


def register(app: typer.Typer) -> None:
    """Add `policy`."""
    from dominie_kit.policy import commands_past

    policy = typer.Typer(help="The policies that decide what agents may do.", no_args_is_help=True)
    policy.command("check")(check)
    policy.command("test")(test)
    policy.command("publish")(publish)
    policy.command("library")(library)
    commands_past.register(policy)
    app.add_typer(policy, name="policy")


def check(directory: Policies, folder: Folder = HERE, json: Json = False) -> None:
    """Check a folder of policies: do they parse, and does each word in them mean something that can be asked?"""
    from dominie_kit.policy.checking import PolicyError, check_policies, declared_shapes, unknown_tools
    from dominie_kit.policy.folder import read_policies
    from dominie_kit.policy.shapes import shape_of

    with problems():
        files = read_policies(directory)
    shapes = [shape_of(spec) for spec in registered(folder)]
    try:
        count = check_policies(files, shapes)
        strange = unknown_tools(files, [*declared_shapes(files), *shapes])
    except PolicyError as error:
        say({"ok": False, "policies": 0, "errors": error.problems, "unknown_tools": []}, None, json=json)
        for problem in error.problems:
            typer.echo(f"{directory / problem}", err=True)
        raise typer.Exit(1) from None
    data = {"ok": True, "policies": count, "errors": [], "unknown_tools": strange}
    cedar = sum(file.name.endswith(".cedar") for file in files)
    say(data, f"{count} policies in {cedar} {'file fits' if cedar == 1 else 'files fit'}.", json=json)
    if strange:
        typer.echo(f"Nobody has registered {', '.join(strange)}: what names them decides nothing yet.", err=True)


def test(directory: Policies, folder: Folder = HERE, json: Json = False) -> None:
    """Decide the cases of a folder of policies, its cases.toml. Exit code 1 unless all are decided as it says."""
    from dominie_kit.policy.cases import read_cases, run_cases, unproven
    from dominie_kit.policy.folder import read_policies

    with problems():
        files, cases = read_policies(directory), read_cases(directory)
        policies = parsed(files)
        results = run_cases(cases, policies, known_tools(files, folder))
    failed = [each for each in results if not each.ok]
    left = unproven(results, policies)
    data = {"ok": not failed, "cases": [each.model_dump(mode="json") for each in results], "unproven": left}
    say(data, None, json=json)
    if not json:
        for each in results:
            by = f" by {', '.join(each.policies)}" if each.policies else ""
            told = "" if each.ok else f": expected {each.expect}, got {each.got}{by}: {'; '.join(each.why)}"
            typer.echo(f"{'ok  ' if each.ok else 'FAIL'} {each.name}{told}")
        typer.echo(f"{len(results) - len(failed)} of {len(results)} cases hold.")
        if left:
            typer.echo(f"No case is decided by {', '.join(left)}.", err=True)
    if failed:
        raise typer.Exit(1)


def publish(
    directory: Policies,
    wait: Annotated[bool, typer.Option("--wait", help="Return when every service decides by them.")] = False,
    tenant: Annotated[str | None, typer.Option(help="Whom they hold for, beside everybody's; else for all.")] = None,
    author: Annotated[str, typer.Option(envvar="DOMINIE_AUTHOR", help="Who wrote them; it is recorded.")] = "",
    folder: Folder = HERE,
    nats_url: NatsUrl = None,
    keys: Keys = None,
    json: Json = False,
) -> None:
    """Put a folder of policies in force. As the operator."""
    import anyio

    from dominie_contracts.guardrail import Published, PublishPolicies
    from dominie_kit.house.operator import operator
    from dominie_kit.policy.everywhere import listening
    from dominie_kit.policy.folder import read_policies

    async def put() -> "tuple[Published, tuple[str, ...], tuple[str, ...]]":
        async with operator(url, held) as asking, listening(asking.client) as everywhere:
            done = await asking.ask(command, Published, timeout_s=10)
            return done, *(await everywhere.reached(done.position, _WAIT_S) if wait else ((), ()))

    with problems():
        command = PublishPolicies(files=read_policies(directory), tenant=tenant, author=author)
        url, held = where(folder, nats_url, keys)
        done, reached, late = anyio.run(put)
    say({**done.model_dump(), "reached": reached, "late": late}, _told(done), json=json)
    if reached and not json:
        typer.echo(f"{len(reached)} decision points have them.")
    if late:
        typer.echo(f"Not yet there after {_WAIT_S:.0f} s: {', '.join(late)}", err=True)
        raise typer.Exit(1)


def library(
    into: Annotated[Path | None, typer.Option(metavar="DIR", help="Copy them there, with their cases.")] = None,
    json: Json = False,
) -> None:
    """Policies about where arguments came from: recipients, amounts, objects, links, times, code, confidential data."""
    from dominie_kit.policy.library import copy_library, shelved

    with problems():
        found = shelved()
        files = () if into is None else copy_library(into)
    data: dict[str, object] = {"library": [each.model_dump(mode="json") for each in found], "files": files}
    told = "\n".join(f"{each.name:13} {each.about}\n{'':13} {', '.join(each.policies)}" for each in found)
    copied = f"{len(files)} files are in {into}: `dominie policy test {into}`, and publish what you keep of them."
    say(data, told if into is None else copied, json=json)


def parsed(files: "tuple[PolicyFile, ...]") -> "PolicySet":
    """A set that can decide.

    Raises:
        KitError: A file does not parse.
    """
    from dominie_kit.errors import KitError
    from dominie_kit.policy.policies import Policies as PolicySet

    try:
        return PolicySet("candidate", files)
    except ValueError as error:
        raise KitError(f"the policies do not parse ({error}): `dominie policy check` says where") from error


def known_tools(files: "tuple[PolicyFile, ...]", folder: Path) -> "Sequence[ToolSpec]":
    """The tools that are registered where Dominie runs, then those that the set itself describes."""
    from dominie_contracts.tool import Tools
    from dominie_kit.policy.rules import TOOLS

    described = [Tools.model_validate_json(file.text).tools for file in files if file.name == TOOLS]
    return [*registered(folder), *(spec for tools in described for spec in tools)]


def registered(folder: Path) -> "Sequence[ToolSpec]":
    """The tools that are registered in what runs in a folder; none where nothing does."""
    from contextlib import chdir

    from dominie import Problem
    from dominie.commands._people import developer
    from dominie_contracts.tool import ListTools, Tools
    from dominie_kit.house.state import StateFolder

    if not StateFolder.find(folder).supervisor():
        return ()
    try:
        with chdir(folder), developer() as client:
            return client.ask(ListTools(), Tools, timeout_s=_ASK_S).tools
    except Problem as problem:
        typer.echo(f"Which tools are registered cannot be told: {problem.detail}", err=True)
        return ()


def _told(done: "Published") -> str:
    words = [f"{done.policies} policies are {'now' if done.changed else 'already'} in force ({done.digest[:12]})."]
    for name, word in (("added", "+"), ("changed", "~"), ("removed", "-")):
        words += [f"  {word} {policy}" for policy in getattr(done.diff, name)]
    return "\n".join(words)
